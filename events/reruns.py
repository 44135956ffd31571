"""Sending what lies in the quarantine again, as it is or repaired, by the route it came by.

The same view judges it, with two differences: the source is known without a key, and the time and
the address of its first arrival are kept. Origins and the budget of requests do not count.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast
from urllib.parse import urlencode

from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from events.decode import InvalidJSONError, loads
from events.models import Quarantined
from sources import snapshot
from sources.authentication import Authenticated
from sources.routing import Route
from sources.snapshot import SourceInfo


@dataclass(frozen=True)
class Outcome:
    """What the sender would have been answered."""

    status: int
    answer: str

    @property
    def accepted(self) -> bool:
        return self.status == 200  # noqa: PLR2004


class AcceptedBeforeError(Exception):
    """It was sent again and accepted: once more would double its events."""


def send_again(pk: int, body: bytes | None = None) -> Outcome:
    """Judge and store a quarantined request, or another body in its place; the row stays."""
    with transaction.atomic():
        refused = Quarantined.objects.select_for_update(of=["self"]).get(pk=pk)
        if refused.accepted_at is not None:
            raise AcceptedBeforeError
        outcome = _outcome(refused, bytes(refused.body) if body is None else body)
        if outcome.accepted:
            refused.accepted_at = timezone.now()
            refused.save(update_fields=["accepted_at"])
    return outcome


def _outcome(refused: Quarantined, body: bytes) -> Outcome:
    find_route: Callable[[str], Route | None] = import_string(settings.FIND_ROUTE)
    route = find_route(refused.route)
    source = snapshot.current().source_of_id(refused.source.public_id)
    if route is None or source is None:
        return Outcome(404, "Not found")
    try:
        environ = _environ(refused, route, body)
    except (InvalidJSONError, AttributeError) as error:
        return Outcome(400, f"Invalid JSON: an object with a text for each name: {error}")
    response = _view(route, refused, source)(WSGIRequest(environ), *route.arguments)
    return Outcome(response.status_code, response.content.decode(errors="replace"))


def _view(route: Route, refused: Quarantined, source: SourceInfo) -> Callable[..., HttpResponse]:
    view = cast("Any", route.view)
    return cast(
        "Callable[..., HttpResponse]",
        view.view_class.as_view(
            **view.view_initkwargs,
            authentication_classes=[partial(_Known, replace(source, quarantines=False))],
            throttle_classes=[],
            keeps_refused=False,
            arrived_at=refused.received_at,
        ),
    )


class _Known(BaseAuthentication):
    """The source that the operator sends for."""

    def __init__(self, source: SourceInfo) -> None:
        self._source = source

    def authenticate(self, request: Request) -> Authenticated:
        return None, self._source


def _environ(refused: Quarantined, route: Route, body: bytes) -> dict[str, Any]:
    came = refused.circumstances
    method = came.get("method") or ("POST" if "POST" in route.methods else "GET")
    content, content_type = body, came.get("content_type", "")
    match came.get("part_of"):
        case "batch":
            sent_at = json.dumps(came.get("sent_at")).encode()
            content = b'{"batch":[' + body + b'],"sentAt":' + sent_at + b"}"
        case "list":
            content = b"[" + body + b"]"
        case "query":
            content = urlencode(list(loads(body).items())).encode()
        case "webhook":
            method, content_type = "POST", "application/json"
    query = content if method == "GET" else b""
    content = b"" if method == "GET" else content
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": refused.route,
        "QUERY_STRING": query.decode(errors="surrogateescape"),
        "CONTENT_LENGTH": str(len(content)),
        "CONTENT_TYPE": content_type,
        "HTTP_X_RUDDER_DESTINATION_ID": came.get("destination_id", ""),
        "REMOTE_ADDR": came.get("address", ""),
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(content),
    }
