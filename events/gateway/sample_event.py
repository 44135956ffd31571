"""Sends an operator's test event through the same route, key and checks as a sender's."""

from __future__ import annotations

import base64
import uuid
from dataclasses import dataclass

import orjson

from events.gateway.operator_request import Outcome, operator_request, response_outcome
from events.gateway.routes import PUBLIC_ROUTES

PATH = "/v1/track"
NAME = "Test Event"
SDK = "rudderhub admin"


@dataclass(frozen=True)
class SampleEvent:
    message_id: str
    outcome: Outcome


def send_sample_event(write_key: str, address: str) -> SampleEvent:
    """Store a test event unless it is refused; its device is new, so that it joins no profile."""
    message_id = f"test-{uuid.uuid4()}"
    credentials = base64.b64encode(f"{write_key}:".encode()).decode()
    event = {
        "messageId": message_id,
        "anonymousId": message_id,
        "event": NAME,
        "properties": {"sent_from": "admin"},
        "context": {"library": {"name": SDK, "version": ""}},
    }
    request = operator_request(
        PATH,
        orjson.dumps(event),
        address=address,
        HTTP_AUTHORIZATION=f"Basic {credentials}",
    )
    response = PUBLIC_ROUTES[PATH].view(request)
    return SampleEvent(message_id, response_outcome(response))
