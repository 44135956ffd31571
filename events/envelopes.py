"""The original's array form of /internal/v1/batch: properties describe, payload is the event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from events.spec import (
    Envelope,
    InvalidEventError,
    ParsedEvent,
    check_size,
    own_type,
    parse_event,
)
from events.text import is_blank, time_text

_SERVES = {"requestType": "type", "receivedAt": "receivedAt", "requestIP": "request_ip"}


def parse_described_event(item: Any, source_id: str, envelope: Envelope) -> ParsedEvent:
    """The event of {"properties": {...}, "payload": {event}}; its receipt is kept."""
    properties, payload = _parts(item)
    _check_properties(properties, source_id)
    served = {
        name: properties[served_by]
        for served_by, name in _SERVES.items()
        if is_blank(payload.get(name)) and not is_blank(properties.get(served_by))
    }
    event_type = own_type(payload | served, envelope.types)
    check_size(payload, envelope.max_event_bytes)
    measured = replace(envelope, max_event_bytes=None, keeps_receipt=True)
    return parse_event(payload | served, event_type, measured)


def _parts(item: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    payload = item.get("payload") if isinstance(item, dict) else None
    properties = item.get("properties") if isinstance(item, dict) else None
    if not isinstance(payload, dict) or not isinstance(properties, dict | None):
        raise InvalidEventError("event is not a valid rudder event")
    return properties or {}, payload


def _check_properties(properties: dict[str, Any], source_id: str) -> None:
    if not is_blank(given := properties.get("sourceID")) and given != source_id:
        raise InvalidEventError("sourceID is not the authenticated source")
    received = properties.get("receivedAt")
    if received is not None and time_text(received) is None:
        raise InvalidEventError("receivedAt is not a time")
