"""Transforms one event to the rows of its tables.

The rules are RudderStack's; tests/cases/golden_warehouse.jsonl records what its transformers give.
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
    """Facts about an event that the sender did not send."""

    source_id: str = ""
    source_type: str = ""
    source_category: str | None = None
    destination_id: str = ""
    destination_type: str = DESTINATION_TYPE
    received_at: str | None = None
    """Replaces the event's receivedAt where that is no timestamp."""


class Row(NamedTuple):
    """A row. `types` also declares `uuid_ts`, which the load fills; `values` contains no null."""

    table: str
    types: dict[str, str]
    values: dict[str, Any]


def skip_reason(event: Mapping[str, Any]) -> str | None:
    """The reason why events of this type have no rows, or None if they have some."""
    return SKIPPED_TYPES.get(_type(event))


def transform(
    event: dict[str, Any], metadata: Metadata, options: Options, *, new_id: Callable[[], str]
) -> list[Row]:
    """The rows of an event; none for a type without a table.

    `new_id` gives an event without a messageId its id. Raises TransformError for an event that
    cannot have rows.
    """
    kind = _type(event)
    build_rows = _ROW_BUILDERS.get(kind)
    if build_rows is None:
        if kind in SKIPPED_TYPES:
            return []
        raise TransformError(f'Unknown event type: "{kind}"')
    rows = build_rows(_Event(event, kind, metadata, options.event_options(event), new_id))
    for row in rows:
        if len(row.types) > MAX_COLUMNS and row.values.get("channel") != "sources":
            raise TransformError("postgres transformer: Too many columns outputted from the event")
    return rows


def _type(event: Mapping[str, Any]) -> str:
    kind = event.get("type")
    return kind.lower() if isinstance(kind, str) else ""


class _Event:
    """An event and the columns of its parts."""

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

    def section_columns(self, name: str, source: Any, prefix: str = "") -> Columns:
        """The columns of one object of the event; `name` is its path, joined by `_`."""
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

    def own_columns(self, name: str) -> Columns:
        return self.section_columns(name, self.message.get(name))

    def context_columns(self) -> Columns:
        """The columns of the context, including the ids of source and destination."""
        context = self.full_context()
        traits = context.get("traits")
        if type(traits) is dict and (text := _spelled_text(traits)) and not self._is_json("traits"):
            context["traits"] = text
        return self.section_columns("context", context, "context_")

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

    def common_columns(self) -> Columns:
        """The columns of every event except an extract."""
        message = self.message
        columns = Columns({}, {})
        _put_value(columns, "id", self.message_id())
        _put_value(columns, "anonymous_id", message.get("anonymousId"))
        _put_value(columns, "user_id", message.get("userId"))
        _put_value(columns, "channel", message.get("channel"))
        self.put_times_and_ips(columns)
        self.put_received_at(columns)
        return columns

    def put_times_and_ips(self, columns: Columns) -> None:
        message = self.message
        passed_ip, request_ip = self.context.get("ip"), message.get("request_ip")
        _put_value(columns, "sent_at", message.get("sentAt"))
        _put_value(columns, "timestamp", message.get("timestamp"))
        _put_value(columns, "original_timestamp", message.get("originalTimestamp"))
        _put_value(columns, "context_ip", request_ip if is_blank(passed_ip) else passed_ip)
        _put_value(columns, "context_request_ip", request_ip)
        _put_value(columns, "context_passed_ip", passed_ip)

    def put_received_at(self, columns: Columns) -> None:
        received_at = self.message.get("receivedAt")
        if type(received_at) is str and (moment := timestamp(received_at)) is not None:
            columns.types["received_at"] = DATETIME
            columns.values["received_at"] = moment
        elif self.metadata.received_at:
            _put_value(columns, "received_at", self.metadata.received_at)
        else:
            raise TransformError("neither the event nor its metadata says when it was received")

    def put_full_event(self, columns: Columns) -> None:
        """Add the column with the whole event if the destination stores it."""
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
        """Whether the event is a table row that a cloud source read."""
        category = (self.metadata.source_category or "").lower()
        if category not in RECORD_ID_CATEGORIES or self.message.get("type") != "track":
            return False
        sources = self.context.get("sources")
        return isinstance(sources, dict) and not is_blank(sources.get("version"))


def _track(event: _Event) -> list[Row]:
    common = _merged_columns(event.context_columns(), event.common_columns())
    _put_value(common, "event_text", event.message.get("event"))
    text = common.values.get("event_text")
    name = event_name(text, event.options.casing) if isinstance(text, str) else ""
    common.types["event"] = STRING
    common.values["event"] = name
    record_id = event.record_id() if event.is_record_row() else None
    rows = []
    if not event.options.skip_tracks_table:
        tracks = _merged_columns(common)
        if record_id is not None:
            _put_value(tracks, "record_id", go_text(record_id))
        event.put_full_event(tracks)
        rows.append(Row("tracks", *tracks))
    if name:
        own = _merged_columns(
            event.own_columns("properties"), event.own_columns("userProperties"), common
        )
        if record_id is not None:
            _put_value(own, "id", record_id)
        rows.append(Row(table_name(name, event.options.casing), *own))
    return rows


def _identify(event: _Event) -> list[Row]:
    free = _merged_columns(
        event.own_columns("userProperties"),
        _plain_context_traits(event),
        event.own_columns("traits"),
        event.context_columns(),
    )
    identifies = _merged_columns(free, event.common_columns())
    event.put_full_event(identifies)
    rows = [Row("identifies", *identifies)]
    user_id = event.message.get("userId")
    if not event.options.skip_users_table and not _is_blank_id(user_id):
        event.put_times_and_ips(free)
        free.types["id"], free.values["id"] = typed_value(user_id)
        event.put_received_at(free)
        rows.append(Row("users", *free))
    return rows


def _plain_context_traits(event: _Event) -> Columns:
    traits = event.context.get("traits")
    if not event.options.allow_users_context_traits or (
        type(traits) is dict and _spelled_text(traits)
    ):
        return Columns({}, {})
    return event.section_columns("context_traits", traits)


def _is_blank_id(user_id: Any) -> bool:
    return is_blank(user_id) or (isinstance(user_id, str) and not user_id.strip())


def _page(event: _Event) -> list[Row]:
    columns = _merged_columns(
        event.own_columns("properties"), event.context_columns(), event.common_columns()
    )
    name, properties = event.message.get("name"), event.message.get("properties")
    if is_blank(name) and isinstance(properties, dict):
        name = properties.get("name")
    _put_value(columns, "name", name)
    event.put_full_event(columns)
    return [Row(f"{event.kind}s", *columns)]


def _group(event: _Event) -> list[Row]:
    traits = event.message.get("traits")
    is_spelled = type(traits) is dict and bool(_spelled_text(traits))
    columns = _merged_columns(
        Columns({}, {}) if is_spelled else event.section_columns("traits", traits),
        event.context_columns(),
        event.common_columns(),
    )
    _put_value(columns, "group_id", event.message.get("groupId"))
    event.put_full_event(columns)
    return [Row("groups", *columns)]


def _alias(event: _Event) -> list[Row]:
    columns = _merged_columns(
        event.own_columns("traits"), event.context_columns(), event.common_columns()
    )
    _put_value(columns, "previous_id", event.message.get("previousId"))
    event.put_full_event(columns)
    return [Row("aliases", *columns)]


def _extract(event: _Event) -> list[Row]:
    columns = _merged_columns(event.own_columns("properties"), event.context_columns())
    text = event.message.get("event")
    if not isinstance(text, str) or not text:
        raise TransformError(f"the event name of an extract is {text!r}, expected a text")
    _put_value(columns, "event", text)
    _put_value(columns, "id", event.record_id())
    event.put_received_at(columns)
    table = table_name(columns.values["event"], event.options.casing)
    if not table:
        raise TransformError(f"no table can be named after the event {text!r}")
    return [Row(table, *columns)]


_ROW_BUILDERS: Final[dict[str, Callable[[_Event], list[Row]]]] = {
    "track": _track,
    "identify": _identify,
    "page": _page,
    "screen": _page,
    "group": _group,
    "alias": _alias,
    "extract": _extract,
}


def _merged_columns(*parts: Columns) -> Columns:
    """A copy of all parts with uuid_ts declared; a later part overrides an earlier one."""
    types: dict[str, str] = {"uuid_ts": DATETIME}
    values: dict[str, Any] = {}
    for part in parts:
        types.update(part.types)
        values.update(part.values)
    return Columns(types, values)


def _put_value(columns: Columns, column: str, value: Any) -> None:
    """Set a column unless the value is blank, an object or an array."""
    if is_blank(value) or isinstance(value, dict | list):
        return
    columns.types[column], columns.values[column] = typed_value(value)


def _spelled_text(letters: dict[str, Any]) -> str:
    """The text that an SDK sent as {"0": "h", "1": "i"}, counted from 0 or 1; else empty."""
    if "0" not in letters and "1" not in letters:
        return ""
    first = 0 if "0" in letters else 1
    characters = [letters.get(str(place)) for place in range(first, first + len(letters))]
    if not all(
        isinstance(letter, str) and len(letter) == 1 and letter.isascii() for letter in characters
    ):
        return ""
    return "".join(str(letter) for letter in characters)
