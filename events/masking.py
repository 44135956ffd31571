"""Events for those who may not see whose they are."""

from __future__ import annotations

import json
from typing import Any

HIDDEN = "•••"
PERMISSION = "events.view_personal_data"
PLAIN = frozenset(
    {"type", "event", "messageId", "channel", "timestamp", "sentAt", "receivedAt"}
    | {"originalTimestamp"}
)
"""Keys whose texts say nothing of a person; of the rest only the shape is shown."""


def masked_json(text: str) -> str:
    """The same keys with the values hidden; a text that is no JSON is hidden whole."""
    try:
        return json.dumps(_masked(json.loads(text), plain=False), ensure_ascii=False)
    except (ValueError, RecursionError):
        return HIDDEN


def masked(text: str) -> str:
    return HIDDEN if text else ""


def _masked(value: Any, *, plain: bool) -> Any:
    if isinstance(value, dict):
        return {
            key: _masked(each, plain=key in PLAIN and not isinstance(each, dict | list))
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [_masked(each, plain=False) for each in value]
    if plain or value is None or isinstance(value, bool):
        return value
    return HIDDEN
