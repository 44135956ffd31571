"""A test event of an operator: by the route, the key and the checks that senders meet."""

from __future__ import annotations

import base64
import io
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.utils.module_loading import import_string

from events.reruns import Outcome
from sources.routing import Route

PATH = "/v1/track"
NAME = "Test Event"
SDK = "rudderhub admin"


@dataclass(frozen=True)
class Trial:
    message_id: str
    outcome: Outcome


def send_test_event(write_key: str, address: str) -> Trial:
    """Stored when the outcome is accepted; a device of its own, so that it joins no profile."""
    message_id = f"test-{uuid.uuid4()}"
    find_route: Callable[[str], Route | None] = import_string(settings.FIND_ROUTE)
    route = find_route(PATH)
    if route is None:
        raise AssertionError(f"{PATH} is a route")
    response = route.view(WSGIRequest(_environ(write_key, address, _body(message_id))))
    answer = response.content.decode(errors="replace")
    return Trial(message_id, Outcome(response.status_code, answer))


def _body(message_id: str) -> bytes:
    return orjson.dumps(
        {
            "messageId": message_id,
            "anonymousId": message_id,
            "event": NAME,
            "properties": {"sent_from": "admin"},
            "context": {"library": {"name": SDK, "version": ""}},
        }
    )


def _environ(write_key: str, address: str, body: bytes) -> dict[str, Any]:
    user = base64.b64encode(f"{write_key}:".encode()).decode()
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": PATH,
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json",
        "HTTP_AUTHORIZATION": f"Basic {user}",
        "REMOTE_ADDR": address,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
    }
