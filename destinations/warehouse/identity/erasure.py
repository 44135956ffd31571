"""Clears erased people from events and rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from destinations.warehouse.identity.statements import (
    ANONYMOUS_ID,
    USER_ID,
    Identifier,
    Statement,
    visible_text,
)
from destinations.warehouse.identity.trait_facts import Facts, winning_facts
from destinations.warehouse.rows.reserved_names import SKIPPED_TYPES

DELETE, BLANK = "delete", "blank"
ERASED_TYPE = "erased"
"""The type of the remainder of a deleted event; loads skip it with the reason ERASED."""
ERASED = SKIPPED_TYPES[ERASED_TYPE]

KEPT_COLUMNS = frozenset(
    """
    id event event_text timestamp original_timestamp sent_at received_at uuid_ts loaded_at
    """.split()  # noqa: SIM905  # read as one list
)
"""Columns that keep their value in a blank row."""
KEPT_KEYS = ("messageId", "type", "event", "originalTimestamp", "sentAt", "timestamp", "receivedAt")
"""Keys that keep their value in a blank event."""

_COLUMN_ID_TYPES = {"user_id": USER_ID, "previous_id": USER_ID, "anonymous_id": ANONYMOUS_ID}
_KEY_ID_TYPES = {"userId": USER_ID, "previousId": USER_ID, "anonymousId": ANONYMOUS_ID}


def column_id_type(column: str) -> str | None:
    """The identifier type of an id column; None for a column that can hold any value."""
    return _COLUMN_ID_TYPES.get(column)


@dataclass(frozen=True)
class ErasedIdentifiers:
    """Erased identifiers with their mode: DELETE or BLANK the rows of the person."""

    modes: Mapping[Identifier, str]

    @cached_property
    def user_ids(self) -> list[str]:
        return [identifier.value for identifier in self.modes if identifier.type == USER_ID]

    @cached_property
    def anonymous_ids(self) -> list[str]:
        return [identifier.value for identifier in self.modes if identifier.type == ANONYMOUS_ID]

    @cached_property
    def values(self) -> list[str]:
        return sorted({identifier.value for identifier in self.modes})

    @cached_property
    def value_set(self) -> frozenset[str]:
        return frozenset(self.values)

    @cached_property
    def json_texts(self) -> list[str]:
        """The values in the form in which JSON texts contain them."""
        return [json.dumps(value, ensure_ascii=False) for value in self.values]

    def is_stated_in(self, statement: Statement) -> bool:
        return not self.modes.keys().isdisjoint(statement.identifiers)

    def is_erased_value(self, id_type: str | None, value: str | None) -> bool:
        """Whether a value is erased as an identifier of this type, or of any type if it is None."""
        if value is None or id_type is None:
            return value in self.value_set
        return Identifier(id_type, value) in self.modes

    def cleared_value(self, value: Any) -> Any:
        """A JSON value with null in place of erased texts."""
        if isinstance(value, dict):
            return {key: self.cleared_value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.cleared_value(inner) for inner in value]
        return None if isinstance(value, str) and value in self.value_set else value

    def cleared_facts(self, facts: Facts) -> Facts:
        """Facts without erased values, equal to those that a replay of the cleared events gives."""
        return {
            name: winning_facts([[self.cleared_value(value), *when] for value, *when in stated])
            for name, stated in facts.items()
        }

    def clear_row(self, row: dict[str, Any]) -> None:
        """Set erased values of another person's row to None."""
        for column, value in row.items():
            if column not in KEPT_COLUMNS and isinstance(value, str) and self._is_in(column, value):
                row[column] = None

    def _is_in(self, column: str, value: str) -> bool:
        if self.is_erased_value(column_id_type(column), value):
            return True
        return value[:1] in "{[" and any(text in value for text in self.json_texts)


def blank_row(row: dict[str, Any]) -> None:
    """Set the columns of an erased person's row to None, except KEPT_COLUMNS."""
    for column in row:
        if column not in KEPT_COLUMNS:
            row[column] = None


def remaining_event(
    event: Mapping[str, Any], primary: Identifier | None, erased: ErasedIdentifiers
) -> dict[str, Any] | None:
    """The part of an event that may stay, or None if all of it may."""
    mode = erased.modes.get(primary) if primary else None
    if mode is not None:
        return _remaining_keys(event, mode)
    changed = _cleared_event(event, erased)
    return None if changed == event else changed


def _cleared_event(event: Mapping[str, Any], erased: ErasedIdentifiers) -> dict[str, Any]:
    """Another person's event without the erased identifiers that it names."""
    without: dict[str, Any] = {
        key: event[key] if key in KEPT_KEYS else erased.cleared_value(event[key]) for key in event
    }
    for key, id_type in _KEY_ID_TYPES.items():
        if key in event:
            is_erased = erased.is_erased_value(id_type, visible_text(event[key]))
            without[key] = None if is_erased else event[key]
    properties = event.get("mergeProperties")
    if isinstance(properties, list):
        without["mergeProperties"] = [
            item
            for item in properties
            if not isinstance(item, dict) or visible_text(item.get("value")) not in erased.value_set
        ]
    return without


def _remaining_keys(event: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """The rest of an erased person's event; BLANK also keeps its type, name and times."""
    if mode == BLANK:
        return {key: event[key] for key in KEPT_KEYS if key in event}
    return {"type": ERASED_TYPE} | {
        key: event[key] for key in ("messageId", "receivedAt") if key in event
    }
