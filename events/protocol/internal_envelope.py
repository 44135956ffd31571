"""Reads RudderStack's list form of /internal/v1/batch: payloads with properties."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from events.protocol.event import (
    Envelope,
    InvalidEventError,
    ParsedEvent,
    check_size,
    own_type,
    parse_event,
)
from events.protocol.text import is_missing, time_text

_MEMBER_OF_PROPERTY = {"requestType": "type", "receivedAt": "receivedAt", "requestIP": "request_ip"}


def parse_described_event(item: Any, source_id: str, envelope: Envelope) -> ParsedEvent:
    """The event of {"properties": {...}, "payload": {event}}; properties supply what it lacks."""
    properties, payload = _parts(item)
    _check_properties(properties, source_id)
    supplied = {
        member: properties[name]
        for name, member in _MEMBER_OF_PROPERTY.items()
        if is_missing(payload.get(member)) and not is_missing(properties.get(name))
    }
    event_type = own_type(payload | supplied, envelope.types)
    check_size(payload, envelope.max_event_bytes)
    unlimited = replace(envelope, max_event_bytes=None, keeps_receipt=True)
    return parse_event(payload | supplied, event_type, unlimited)


def _parts(item: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    payload = item.get("payload") if isinstance(item, dict) else None
    properties = item.get("properties") if isinstance(item, dict) else None
    if not isinstance(payload, dict) or not isinstance(properties, dict | None):
        raise InvalidEventError("event is not a valid rudder event")
    return properties or {}, payload


def _check_properties(properties: dict[str, Any], source_id: str) -> None:
    property_id = properties.get("sourceID")
    if not is_missing(property_id) and property_id != source_id:
        raise InvalidEventError("sourceID is not the authenticated source")
    received_at = properties.get("receivedAt")
    if received_at is not None and time_text(received_at) is None:
        raise InvalidEventError("receivedAt is not a time")
