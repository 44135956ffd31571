"""Sends quarantined requests again, unchanged or edited, by the routes on which they arrived.

The route's own view accepts or refuses them, with two differences: it knows the source without a
key, and it keeps the time and the address of the first arrival. It does not check origins and rate
limits.

Requests that an operator chose together are marked, and a worker sends them, the oldest first. The
worker removes the mark before it sends, so that a worker that is killed sends none twice.
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

from events.gateway.operator_request import Outcome, operator_request, response_outcome
from events.gateway.quarantine import open_requests
from events.gateway.routes import find_event_route
from events.models import Quarantined
from events.protocol.json_body import InvalidJSONError, loads
from events.workers import audit
from sources import snapshot
from sources.authentication import Authenticated
from sources.routing import Route
from sources.snapshot import SourceInfo

RECENT_AGE = timedelta(hours=1)
SLICE_REQUESTS = 200


class AlreadyAcceptedError(Exception):
    """The request has been accepted already, so that its events would be stored twice."""


def resend_request(pk: int, body: bytes | None = None) -> Outcome:
    """Send a quarantined request again, with its own body or another; its row stays."""
    with transaction.atomic():
        record = Quarantined.objects.select_for_update(of=["self"]).get(pk=pk)
        if record.accepted_at is not None:
            raise AlreadyAcceptedError
        outcome = _resend_outcome(record, bytes(record.body) if body is None else body)
        if outcome.accepted:
            record.accepted_at = timezone.now()
            record.save(update_fields=["accepted_at"])
    return outcome


@dataclass(frozen=True)
class ResendBatch:
    """The progress of requests that an operator chose together."""

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


def mark_waiting(requests: QuerySet[Quarantined], user_pk: int | None) -> int:
    """Mark the open requests for a worker to send; returns their number."""
    now = timezone.now()
    unmarked = open_requests(requests).filter(is_waiting=False)
    return unmarked.update(is_waiting=True, asked_at=now, asked_by=user_pk)


def waiting_requests() -> QuerySet[Quarantined]:
    return Quarantined.objects.filter(is_waiting=True).order_by("asked_at", "id").defer("body")


def resend_waiting(max_seconds: float) -> bool:
    """Send waiting requests for at most max_seconds; returns whether to continue at once.

    Stops while the log is unavailable, since it would refuse the other requests as well; they wait
    until beat wakes a worker.
    """
    deadline = monotonic() + max_seconds
    for record in waiting_requests()[:SLICE_REQUESTS]:
        outcome = _resend_marked(record)
        if outcome is not None and outcome.status == 503:  # noqa: PLR2004
            return False
        if monotonic() > deadline:
            break
    return waiting_requests().exists()


def recent_batches(now: datetime) -> list[ResendBatch]:
    """The waiting batches and those of the last hour, the newest first."""
    recent = Q(asked_at__gt=now - RECENT_AGE) | Q(is_waiting=True)
    times = Quarantined.objects.filter(recent).order_by().values("asked_at").distinct()
    requests = Quarantined.objects.filter(asked_at__in=times).order_by("-asked_at")
    counts = requests.values("asked_at", "asked_by__username").annotate(
        total=Count("pk"),
        waiting=Count("pk", filter=Q(is_waiting=True)),
        accepted=Count("pk", filter=~Q(accepted_at=None)),
    )
    return [ResendBatch(by=row.pop("asked_by__username") or "", **row) for row in counts]


def log_resend(user_pk: int | None, record: Quarantined, how: str, outcome: Outcome) -> None:
    """Write the outcome to the audit log; how is "unchanged" or "edited"."""
    audit.log_action(user_pk, record, f"Sent again {how}: {outcome.status} {outcome.answer}")


def _resend_marked(record: Quarantined) -> Outcome | None:
    marked = Quarantined.objects.filter(pk=record.pk, is_waiting=True)
    if not marked.update(is_waiting=False):
        return None  # another worker or an operator has removed the mark
    try:
        outcome = resend_request(record.pk)
    except (AlreadyAcceptedError, Quarantined.DoesNotExist):
        return None  # sent by another worker, or deleted with its source or for its age
    if record.asked_by_id:
        log_resend(record.asked_by_id, record, "unchanged", outcome)
    return outcome


def _resend_outcome(record: Quarantined, body: bytes) -> Outcome:
    route = find_event_route(record.route)
    source = snapshot.current_snapshot().source_of_id(record.source.public_id)
    if route is None or source is None:
        return Outcome(404, "Not found")
    try:
        request = _resend_request(record, route, body)
    except (InvalidJSONError, AttributeError) as error:
        return Outcome(400, f"Invalid JSON: an object with a text for each name: {error}")
    return response_outcome(_resend_view(route, record, source)(request, *route.arguments))


def _resend_view(
    route: Route, record: Quarantined, source: SourceInfo
) -> Callable[..., HttpResponse]:
    view = cast("Any", route.view)
    return cast(
        "Callable[..., HttpResponse]",
        view.view_class.as_view(
            **view.view_initkwargs,
            authentication_classes=[
                partial(_SourceAuthentication, replace(source, quarantines=False))
            ],
            is_rate_limited=False,
            quarantines_refused=False,
            first_received_at=record.received_at,
        ),
    )


class _SourceAuthentication(BaseAuthentication):
    """Authenticates every request as one source."""

    def __init__(self, source: SourceInfo) -> None:
        self._source = source

    def authenticate(self, request: Request) -> Authenticated:
        return None, self._source


def _resend_request(record: Quarantined, route: Route, body: bytes) -> WSGIRequest:
    circumstances = record.circumstances
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
        record.route,
        content,
        method=method,
        content_type=content_type,
        address=circumstances.get("address", ""),
        HTTP_X_RUDDER_DESTINATION_ID=circumstances.get("destination_id", ""),
    )
