"""Sending what lies in the quarantine again, as it is or repaired, by the route it came by.

The same view judges it, with two differences: the source is known without a key, and the time and
the address of its first arrival are kept. Origins and the budget of requests do not count.

Of many that are chosen each is marked, and a worker sends them, the oldest first. It takes the mark
off before it sends: one that is killed at it leaves that one refused, and sends none twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, cast
from urllib.parse import urlencode

from django.core.handlers.wsgi import WSGIRequest
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from events.decode import InvalidJSONError, loads
from events.models import Quarantined
from events.operator_request import Outcome, operator_request, response_outcome
from events.quarantine import open_ones
from events.urls import find_event_route
from sources import audit, snapshot
from sources.authentication import Authenticated
from sources.routing import Route
from sources.snapshot import SourceInfo

RECENT = timedelta(hours=1)
PART = 200
"""So many of those that wait are looked up at once."""


class AcceptedBeforeError(Exception):
    """It was sent again and accepted: once more would double its events."""


def send_again(pk: int, body: bytes | None = None) -> Outcome:
    """Judge and store a quarantined request, or another body in its place; the row stays."""
    with transaction.atomic():
        refused = Quarantined.objects.select_for_update(of=["self"]).get(pk=pk)
        if refused.accepted_at is not None:
            raise AcceptedBeforeError
        outcome = _resend(refused, bytes(refused.body) if body is None else body)
        if outcome.accepted:
            refused.accepted_at = timezone.now()
            refused.save(update_fields=["accepted_at"])
    return outcome


@dataclass(frozen=True)
class Batch:
    """Requests that were asked for together, and what has become of them."""

    asked_at: datetime
    by: str
    total: int
    waiting: int
    accepted: int

    @property
    def sent(self) -> int:
        return self.total - self.waiting

    @property
    def refused(self) -> int:
        return self.sent - self.accepted

    @property
    def percent(self) -> int:
        return 100 * self.sent // self.total


def ask_for(chosen: QuerySet[Quarantined], user_pk: int | None) -> int:
    """Have a worker send again those that are open; how many that is."""
    now = timezone.now()
    unmarked = open_ones(chosen).filter(is_waiting=False)
    return unmarked.update(is_waiting=True, asked_at=now, asked_by=user_pk)


def waiting() -> QuerySet[Quarantined]:
    """Those that are marked, the oldest first."""
    return Quarantined.objects.filter(is_waiting=True).order_by("asked_at", "id").defer("body")


def send_waiting(max_seconds: float) -> bool:
    """Send for so long, or until the log takes nothing; whether to go on at once."""
    until = monotonic() + max_seconds
    for record in waiting()[:PART]:
        if _unmarked(record) and _is_log_away(_send_unmarked(record)):
            return False
        if monotonic() > until:
            break
    return waiting().exists()


def batches(now: datetime) -> list[Batch]:
    """Those at work, and those of the last hour; the newest first."""
    recent = Q(asked_at__gt=now - RECENT) | Q(is_waiting=True)
    named = Quarantined.objects.filter(recent).order_by().values("asked_at").distinct()
    found = Quarantined.objects.filter(asked_at__in=named).order_by("-asked_at")
    counted = found.values("asked_at", "asked_by__username").annotate(
        total=Count("pk"),
        waiting=Count("pk", filter=Q(is_waiting=True)),
        accepted=Count("pk", filter=~Q(accepted_at=None)),
    )
    return [
        Batch(each.pop("asked_at"), each.pop("asked_by__username") or "", **each)
        for each in counted
    ]


def log_sent(user_pk: int | None, record: Quarantined, how: str, outcome: Outcome) -> None:
    said = f"Sent again {how}: {outcome.status} {outcome.answer}"
    audit.note(user_pk, record, said)


def _unmarked(record: Quarantined) -> bool:
    """Whether it is for us to send, and not for another worker, or discarded meanwhile."""
    marked = Quarantined.objects.filter(pk=record.pk, is_waiting=True)
    return bool(marked.update(is_waiting=False))


def _send_unmarked(record: Quarantined) -> Outcome | None:
    try:
        outcome = send_again(record.pk)
    except (AcceptedBeforeError, Quarantined.DoesNotExist):
        return None  # sent by somebody else meanwhile, or gone with its source or its age
    if record.asked_by_id:
        log_sent(record.asked_by_id, record, "as it was", outcome)
    return outcome


def _is_log_away(outcome: Outcome | None) -> bool:
    """The next would be refused, too: it waits until beat rings."""
    return outcome is not None and outcome.status == 503  # noqa: PLR2004


def _resend(refused: Quarantined, body: bytes) -> Outcome:
    route = find_event_route(refused.route)
    source = snapshot.current().source_of_id(refused.source.public_id)
    if route is None or source is None:
        return Outcome(404, "Not found")
    try:
        request = _request(refused, route, body)
    except (InvalidJSONError, AttributeError) as error:
        return Outcome(400, f"Invalid JSON: an object with a text for each name: {error}")
    return response_outcome(_view(route, refused, source)(request, *route.arguments))


def _view(route: Route, refused: Quarantined, source: SourceInfo) -> Callable[..., HttpResponse]:
    view = cast("Any", route.view)
    return cast(
        "Callable[..., HttpResponse]",
        view.view_class.as_view(
            **view.view_initkwargs,
            authentication_classes=[partial(_KnownSource, replace(source, quarantines=False))],
            throttle_classes=[],
            quarantines_refused=False,
            first_received_at=refused.received_at,
        ),
    )


class _KnownSource(BaseAuthentication):
    """The source that the operator sends for."""

    def __init__(self, source: SourceInfo) -> None:
        self._source = source

    def authenticate(self, request: Request) -> Authenticated:
        return None, self._source


def _request(refused: Quarantined, route: Route, body: bytes) -> WSGIRequest:
    circumstances = refused.circumstances
    method = circumstances.get("method") or ("POST" if "POST" in route.methods else "GET")
    content, content_type = body, circumstances.get("content_type", "")
    match circumstances.get("part_of"):
        case "batch":
            sent_at = json.dumps(circumstances.get("sent_at")).encode()
            content = b'{"batch":[' + body + b'],"sentAt":' + sent_at + b"}"
        case "list":
            content = b"[" + body + b"]"
        case "query":
            content = urlencode(list(loads(body).items())).encode()
        case "webhook":
            method, content_type = "POST", "application/json"
    return operator_request(
        refused.route,
        content,
        method=method,
        content_type=content_type,
        address=circumstances.get("address", ""),
        HTTP_X_RUDDER_DESTINATION_ID=circumstances.get("destination_id", ""),
    )
