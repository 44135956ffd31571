"""Redacts events for users without the permission to view personal data."""

from __future__ import annotations

import json
from typing import Any

from events.protocol.event import INTERNAL_TYPES
from events.protocol.text import parse_time

HIDDEN = "•••"
PERMISSION = "events.view_personal_data"
IMPERSONAL_MEMBERS = frozenset({"event", "messageId", "channel"})
"""Members without personal data; the type and the times are checked by value."""
TIME_MEMBERS = frozenset({"timestamp", "sentAt", "receivedAt", "originalTimestamp"})


def masked_json(text: str) -> str:
    """The JSON with the same keys and redacted values; HIDDEN for text that is not JSON."""
    try:
        return json.dumps(_masked_body(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return HIDDEN


def masked_text(text: str) -> str:
    return HIDDEN if text else ""


def _masked_body(body: Any) -> Any:
    """An event or a request with all values redacted except those of impersonal members."""
    if isinstance(body, list):
        return [_masked_body(item) for item in body]
    if not isinstance(body, dict):
        return _masked_value(body)
    return {key: _masked_member(key, value) for key, value in body.items()}


def _masked_member(key: str, value: Any) -> Any:
    if key == "batch":
        return _masked_body(value)
    return value if isinstance(value, str) and _is_impersonal(key, value) else _masked_value(value)


def _is_impersonal(key: str, text: str) -> bool:
    """Whether the text is no personal data, even if the sender has mixed up its fields."""
    if key in TIME_MEMBERS:
        return parse_time(text) is not None
    return key in IMPERSONAL_MEMBERS or (key == "type" and text in INTERNAL_TYPES)


def _masked_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked_value(item) for item in value]
    return None if value is None else HIDDEN
