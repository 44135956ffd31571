"""Events for those who may not see whose they are."""

from __future__ import annotations

import json
from typing import Any

from events.spec import INTERNAL_TYPES
from events.text import parse_time

HIDDEN = "•••"
PERMISSION = "events.view_personal_data"
NAMES = frozenset({"event", "messageId", "channel"})
"""Keys of an event whose texts say nothing of a person, beside its type and its times."""
TIMES = frozenset({"timestamp", "sentAt", "receivedAt", "originalTimestamp"})


def masked_json(text: str) -> str:
    """The same keys with the values hidden; a text that is no JSON is hidden whole."""
    try:
        return json.dumps(_masked_body(json.loads(text)), ensure_ascii=False)
    except (ValueError, RecursionError):
        return HIDDEN


def masked(text: str) -> str:
    return HIDDEN if text else ""


def _masked_body(body: Any) -> Any:
    """An event, or a request with several; the same names below them may hold anything."""
    if isinstance(body, list):
        return [_masked_body(each) for each in body]
    if not isinstance(body, dict):
        return _masked(body)
    return {key: _masked_member(key, value) for key, value in body.items()}


def _masked_member(key: str, value: Any) -> Any:
    if key == "batch":
        return _masked_body(value)
    return value if isinstance(value, str) and _is_plain(key, value) else _masked(value)


def _is_plain(key: str, text: str) -> bool:
    """A sender may have mixed its fields up: a type is one that is known, a time a time."""
    if key in TIMES:
        return parse_time(text) is not None
    return key in NAMES or (key == "type" and text in INTERNAL_TYPES)


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_masked(each) for each in value]
    return None if value is None else HIDDEN
