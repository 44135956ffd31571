"""One event to the rows of its tables.

The rules are those of RudderStack's transformers, as tests/cases/golden_warehouse.jsonl has them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from destinations.warehouse.json_text import TransformError, go_text, json_text
from destinations.warehouse.rows.datatypes import DATETIME, JSON, STRING, timestamp, typed_value
from destinations.warehouse.rows.flatten import Columns, Shape, flatten, is_blank
from destinations.warehouse.rows.naming import NameCache, event_name, table_name
from destinations.warehouse.rows.options import DESTINATION_TYPE, Options, section_json_paths
from destinations.warehouse.rows.reserved_names import (
    RECORD_ID_CATEGORIES,
    SHALLOW_CATEGORY,
    SKIPPED_TYPES,
)

__all__ = ["Metadata", "Options", "Row", "TransformError", "skip_reason", "transform"]

MAX_COLUMNS: Final = 1600
"""Postgres allows no more in a table or a row."""

_NAMES: Final = NameCache()


@dataclass(frozen=True)
class Metadata:
    """What the server knows of an event besides what was sent."""

    source_id: str = ""
    source_type: str = ""
    source_category: str | None = None
    destination_id: str = ""
    destination_type: str = DESTINATION_TYPE
    received_at: str | None = None
    """When the server took the event, used where the event's own receivedAt is no timestamp."""


class Row(NamedTuple):
    """One row: `types` also declares `uuid_ts`, which the load fills; `values` has no null."""

    table: str
    types: dict[str, str]
    values: dict[str, Any]


def skip_reason(event: Mapping[str, Any]) -> str | None:
    """Why an event of this type has no rows, or None when it should have some."""
    return SKIPPED_TYPES.get(_type(event))


def transform(
    event: dict[str, Any], metadata: Metadata, options: Options, *, new_id: Callable[[], str]
) -> list[Row]:
    """The rows of an event, none for a type without a table; TransformError when it can have none.

    `new_id` names an event without a messageId.
    """
    kind = _type(event)
    rows_of = _ROWS.get(kind)
    if rows_of is None:
        if kind in SKIPPED_TYPES:
            return []
        raise TransformError(f'Unknown event type: "{kind}"')
    rows = rows_of(_Event(event, kind, metadata, options.event_options(event), new_id))
    for row in rows:
        if len(row.types) > MAX_COLUMNS and row.values.get("channel") != "sources":
            raise TransformError("postgres transformer: Too many columns outputted from the event")
    return rows


def _type(event: Mapping[str, Any]) -> str:
    kind = event.get("type")
    return kind.lower() if isinstance(kind, str) else ""


class _Event:
    """An event with its parts found once."""

    __slots__ = ("_new_id", "context", "kind", "message", "metadata", "options")

    def __init__(
        self,
        message: dict[str, Any],
        kind: str,
        metadata: Metadata,
        options: Options,
        new_id: Callable[[], str],
    ) -> None:
        context = message.get("context")
        if context is not None and type(context) is not dict:
            raise TransformError("context is not a map")
        self.message = message
        self.kind = kind
        self.metadata = metadata
        self.options = options
        self.context: dict[str, Any] = context or {}
        self._new_id = new_id

    def section(self, name: str, source: Any, prefix: str = "") -> Columns:
        """The columns of one object of the event: name is its path, joined by `_`."""
        if type(source) is not dict or not source:
            return Columns({}, {})
        options = self.options
        return flatten(
            source,
            _NAMES.scope(options.casing, self.kind, prefix),
            Shape(
                section_json_paths(options.json_paths, f"{self.kind}_{name}_"),
                len(prefix),
                self.metadata.source_category == SHALLOW_CATEGORY,
            ),
        )

    def own_section(self, name: str) -> Columns:
        """The columns of a top-level object."""
        return self.section(name, self.message.get(name))

    def context_section(self) -> Columns:
        """The columns of the context, with the ids of source and destination."""
        context = self.full_context()
        traits = context.get("traits")
        if type(traits) is dict and (text := _spelt(traits)) and not self._is_json("traits"):
            context["traits"] = text
        return self.section("context", context, "context_")

    def full_context(self) -> dict[str, Any]:
        metadata = self.metadata
        return {
            **self.context,
            "sourceId": metadata.source_id,
            "sourceType": metadata.source_type,
            "destinationId": metadata.destination_id,
            "destinationType": metadata.destination_type,
        }

    def _is_json(self, key: str) -> bool:
        paths = section_json_paths(self.options.json_paths, f"{self.kind}_context_")
        return paths is not None and (0, key) in paths

    def fixed(self) -> Columns:
        """The columns that every event but an extract has."""
        message = self.message
        columns = Columns({}, {})
        _put(columns, "id", self.message_id())
        _put(columns, "anonymous_id", message.get("anonymousId"))
        _put(columns, "user_id", message.get("userId"))
        _put(columns, "channel", message.get("channel"))
        self.put_times_and_ips(columns)
        self.put_received_at(columns)
        return columns

    def put_times_and_ips(self, columns: Columns) -> None:
        message = self.message
        passed_ip, request_ip = self.context.get("ip"), message.get("request_ip")
        _put(columns, "sent_at", message.get("sentAt"))
        _put(columns, "timestamp", message.get("timestamp"))
        _put(columns, "original_timestamp", message.get("originalTimestamp"))
        _put(columns, "context_ip", request_ip if is_blank(passed_ip) else passed_ip)
        _put(columns, "context_request_ip", request_ip)
        _put(columns, "context_passed_ip", passed_ip)

    def put_received_at(self, columns: Columns) -> None:
        received_at = self.message.get("receivedAt")
        if type(received_at) is str and (moment := timestamp(received_at)) is not None:
            columns.types["received_at"] = DATETIME
            columns.values["received_at"] = moment
        elif self.metadata.received_at:
            _put(columns, "received_at", self.metadata.received_at)
        else:
            raise TransformError("neither the event nor its metadata says when it was received")

    def put_whole(self, columns: Columns) -> None:
        """The column with the event itself, when the destination wants it."""
        if self.options.store_full_event:
            columns.types["rudder_event"] = JSON
            columns.values["rudder_event"] = json_text(
                {**self.message, "context": self.full_context()}
            )

    def message_id(self) -> Any:
        message_id = self.message.get("messageId")
        return f"auto-{self._new_id()}" if is_blank(message_id) else message_id

    def record_id(self) -> Any:
        record_id = self.message.get("recordId")
        if is_blank(record_id) or isinstance(record_id, dict | list):
            raise TransformError("recordId cannot be empty for cloud sources events")
        return record_id

    def is_record_row(self) -> bool:
        """Whether a track is one row of a table that a cloud source reads."""
        category = (self.metadata.source_category or "").lower()
        if category not in RECORD_ID_CATEGORIES or self.message.get("type") != "track":
            return False
        sources = self.context.get("sources")
        return isinstance(sources, dict) and not is_blank(sources.get("version"))


def _track(event: _Event) -> list[Row]:
    common = _merged(event.context_section(), event.fixed())
    _put(common, "event_text", event.message.get("event"))
    text = common.values.get("event_text")
    name = event_name(text, event.options.casing) if isinstance(text, str) else ""
    common.types["event"] = STRING
    common.values["event"] = name
    record_id = event.record_id() if event.is_record_row() else None
    rows = []
    if not event.options.skip_tracks_table:
        tracks = _merged(common)
        if record_id is not None:
            _put(tracks, "record_id", go_text(record_id))
        event.put_whole(tracks)
        rows.append(Row("tracks", *tracks))
    if name:
        own = _merged(event.own_section("properties"), event.own_section("userProperties"), common)
        if record_id is not None:
            _put(own, "id", record_id)
        rows.append(Row(table_name(name, event.options.casing), *own))
    return rows


def _identify(event: _Event) -> list[Row]:
    free = _merged(
        event.own_section("userProperties"),
        _plain_context_traits(event),
        event.own_section("traits"),
        event.context_section(),
    )
    identifies = _merged(free, event.fixed())
    event.put_whole(identifies)
    rows = [Row("identifies", *identifies)]
    user_id = event.message.get("userId")
    if not event.options.skip_users_table and not _is_nobody(user_id):
        event.put_times_and_ips(free)
        free.types["id"], free.values["id"] = typed_value(user_id)
        event.put_received_at(free)
        rows.append(Row("users", *free))
    return rows


def _plain_context_traits(event: _Event) -> Columns:
    traits = event.context.get("traits")
    if not event.options.allow_users_context_traits or (type(traits) is dict and _spelt(traits)):
        return Columns({}, {})
    return event.section("context_traits", traits)


def _is_nobody(user_id: Any) -> bool:
    return is_blank(user_id) or (isinstance(user_id, str) and not user_id.strip())


def _page(event: _Event) -> list[Row]:
    columns = _merged(event.own_section("properties"), event.context_section(), event.fixed())
    name, properties = event.message.get("name"), event.message.get("properties")
    if is_blank(name) and isinstance(properties, dict):
        name = properties.get("name")
    _put(columns, "name", name)
    event.put_whole(columns)
    return [Row(f"{event.kind}s", *columns)]


def _group(event: _Event) -> list[Row]:
    traits = event.message.get("traits")
    spelt = type(traits) is dict and bool(_spelt(traits))
    columns = _merged(
        Columns({}, {}) if spelt else event.section("traits", traits),
        event.context_section(),
        event.fixed(),
    )
    _put(columns, "group_id", event.message.get("groupId"))
    event.put_whole(columns)
    return [Row("groups", *columns)]


def _alias(event: _Event) -> list[Row]:
    columns = _merged(event.own_section("traits"), event.context_section(), event.fixed())
    _put(columns, "previous_id", event.message.get("previousId"))
    event.put_whole(columns)
    return [Row("aliases", *columns)]


def _extract(event: _Event) -> list[Row]:
    columns = _merged(event.own_section("properties"), event.context_section())
    text = event.message.get("event")
    if not isinstance(text, str) or not text:
        raise TransformError(f"the event name of an extract is {text!r}, expected a text")
    _put(columns, "event", text)
    _put(columns, "id", event.record_id())
    event.put_received_at(columns)
    table = table_name(columns.values["event"], event.options.casing)
    if not table:
        raise TransformError(f"no table can be named after the event {text!r}")
    return [Row(table, *columns)]


_ROWS: Final[dict[str, Callable[[_Event], list[Row]]]] = {
    "track": _track,
    "identify": _identify,
    "page": _page,
    "screen": _page,
    "group": _group,
    "alias": _alias,
    "extract": _extract,
}


def _merged(*parts: Columns) -> Columns:
    """The parts as one, the later winning; always a copy, with uuid_ts declared."""
    types: dict[str, str] = {"uuid_ts": DATETIME}
    values: dict[str, Any] = {}
    for part in parts:
        types.update(part.types)
        values.update(part.values)
    return Columns(types, values)


def _put(columns: Columns, column: str, value: Any) -> None:
    """Set a fixed column; one that is blank, an object or an array is not there."""
    if is_blank(value) or isinstance(value, dict | list):
        return
    columns.types[column], columns.values[column] = typed_value(value)


def _spelt(letters: dict[str, Any]) -> str:
    """The text that an SDK sent as {"0": "h", "1": "i"}, counted from 0 or 1; empty if not so."""
    if "0" not in letters and "1" not in letters:
        return ""
    first = 0 if "0" in letters else 1
    found = [letters.get(str(place)) for place in range(first, first + len(letters))]
    if not all(
        isinstance(letter, str) and len(letter) == 1 and letter.isascii() for letter in found
    ):
        return ""
    return "".join(str(letter) for letter in found)
