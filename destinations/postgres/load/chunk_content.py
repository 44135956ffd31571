"""The content of a chunk for a warehouse: rows by table and identity statements."""

from __future__ import annotations

import json
import logging
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from uuid import UUID

import orjson

from destinations.interface import Chunk, Feed, LoggedEvent, PreparedChunk
from destinations.warehouse.identity.erasure import (
    BLANK,
    DELETE,
    ErasedIdentifiers,
    blank_row,
    remaining_event,
)
from destinations.warehouse.identity.statements import (
    Identifier,
    MalformedMergeError,
    Rules,
    Statement,
    statement,
)
from destinations.warehouse.json_text import cleaned_json
from destinations.warehouse.rows.options import DESTINATION_TYPE, is_switched_off
from destinations.warehouse.rows.schema import PROFILE_COLUMN, storable_row
from destinations.warehouse.rows.transform import (
    Metadata,
    Options,
    Row,
    TransformError,
    skip_reason,
    transform,
)

logger = logging.getLogger(__name__)

SWITCHED_OFF = f"its integrations turn {DESTINATION_TYPE} off"
FOR_ANOTHER = "it is for another destination"
FILTERED = "the event filter of the connection leaves it out"

_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBERS = (b"0" * 20, b"-" + b"0" * 19)
"""Integers of this length may exceed 64 bits, where orjson rounds."""


class PreparedRow(NamedTuple):
    """A row with the primary identifier of its profile, and whether it creates a users row."""

    row: Row
    primary: Identifier | None
    is_user: bool


@dataclass
class ChunkContent:
    """The newest row of each id by table, and the identity statements of the events.

    Rows with equal columns share one object of types, so that its columns are planned once.
    """

    rows: dict[str, dict[str, PreparedRow]] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    shapes: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    repeated: Counter[str] = field(default_factory=Counter)
    """Number of rows by table that have the id of another row of the chunk."""
    erased_ids: set[str] = field(default_factory=set)
    """Ids of the rows that were removed because their person was erased."""
    events: Sequence[LoggedEvent] = ()
    rewritten: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Payloads without erased values for the events that name erased people, by event id."""

    def add_row(self, row: Row, primary: Identifier | None, *, is_user: bool) -> None:
        """Keep the row unless a row of the same id was received at the same time or later."""
        table = self.rows.setdefault(row.table, {})
        row_id = row.values["id"]
        key = row_id if type(row_id) is str else str(row_id)
        present = table.get(key)
        if present is not None:
            self.repeated[row.table] += 1
            if present.row.values["received_at"] >= row.values["received_at"]:
                return
            del table[key]  # so that the rows stay in the order of loading
        types = self.shapes.setdefault((*row.types, *row.types.values()), row.types)
        table[key] = PreparedRow(Row(row.table, types, row.values), primary, is_user)

    def set_profiles(self, profiles: Mapping[Identifier, UUID]) -> None:
        """Give each row the profile of its primary identifier."""
        profile_ids = {identifier: str(profile) for identifier, profile in profiles.items()}
        for table in self.rows.values():
            for row, primary, _ in table.values():
                if primary is not None and (profile := profile_ids.get(primary)):
                    row.values[PROFILE_COLUMN] = profile

    def remove_erased(self, modes: Mapping[Identifier, str]) -> None:
        """Delete or empty the rows of erased people, and clear erased values in other rows."""
        if not modes:
            return
        erased = ErasedIdentifiers(modes)
        for table in self.rows.values():
            for key, prepared in list(table.items()):
                mode = modes.get(prepared.primary) if prepared.primary else None
                if mode == DELETE:
                    self.erased_ids.add(key)
                    del table[key]
                elif mode == BLANK:
                    blank_row(prepared.row.values)
                    table[key] = PreparedRow(prepared.row, None, is_user=False)
                else:
                    erased.clear_row(prepared.row.values)
        self.rows = {name: table for name, table in self.rows.items() if table}
        self._rewrite_events(erased)

    def _rewrite_events(self, erased: ErasedIdentifiers) -> None:
        primaries = {
            stated.message_id: stated.primary
            for stated in self.statements
            if erased.is_stated_in(stated)
        }
        for event in self.events:
            if event.message_id in primaries:
                payload = json.loads(event.payload)
                if new := remaining_event(payload, primaries[event.message_id], erased):
                    self.rewritten[event.id] = new

    def distinct_types(self, table: str) -> Iterator[dict[str, str]]:
        """The columns and types of the table's rows, once for each kind of row."""
        rows = (prepared.row for prepared in self.rows[table].values())
        return iter({id(row.types): row.types for row in rows}.values())


def prepare_chunk(chunk: Chunk, feed: Feed, options: Options, rules: Rules | None) -> PreparedChunk:
    """Transform the chunk's events; events without rows are skipped or become dead letters.

    Without rules the content has no identity statements.
    """
    content = ChunkContent(events=chunk.events)
    dead_letters: list[tuple[LoggedEvent, str]] = []
    skipped: Counter[str] = Counter()
    metadata = _metadata(feed)
    for event in chunk.events:
        try:
            reason = _add_event(content, event, feed, metadata, options, rules)
        except (TransformError, MalformedMergeError) as error:
            dead_letters.append((event, str(error)))
        except Exception as error:
            logger.exception(
                "transform failed connection=%s event=%s", feed.connection_id, event.id
            )
            dead_letters.append((event, f"transform failed: {type(error).__name__}: {error}"))
        else:
            if reason:
                skipped[reason] += 1
    return PreparedChunk(chunk, content, dead_letters, skipped)


def prepared_content(prepared: PreparedChunk) -> ChunkContent:
    """The content that prepare_chunk() gave; empty when all events are dead letters."""
    return cast("ChunkContent", prepared.content or ChunkContent())


def event_tables(event: LoggedEvent, feed: Feed, options: Options) -> list[str]:
    """The tables in which an event has rows. The event has been prepared before without error."""
    payload = _exact_payload(event.payload)
    if is_switched_off(payload) or (feed.event_filter and not feed.event_filter.takes(payload)):
        return []
    return [row.table for row in transform(payload, _metadata(feed), options, new_id=_new_id)]


def _add_event(
    content: ChunkContent,
    event: LoggedEvent,
    feed: Feed,
    metadata: Metadata,
    options: Options,
    rules: Rules | None,
) -> str:
    """Add an event; returns why it is skipped, or "" when it gave rows or a statement."""
    payload = _exact_payload(event.payload)
    if feed.event_filter and not feed.event_filter.takes(payload):
        return FILTERED
    if "integrations" in payload and is_switched_off(payload):
        return SWITCHED_OFF
    addressee = payload.get("rudderDestinationId")  # set by reverse ETL
    if isinstance(addressee, str) and addressee not in {"", metadata.destination_id}:
        return FOR_ANOTHER
    rows = [storable_row(row) for row in transform(payload, metadata, options, new_id=_new_id)]
    stated = statement(payload, metadata.source_id, rules) if rules else None
    primary = stated.primary if stated else None
    if stated:
        content.statements.append(stated)
    is_user = len(rows) > 1 and rows[1].table == "users"
    for row in rows[:1] if is_user else rows:  # the users row follows from identifies
        content.add_row(row, primary, is_user=is_user)
    return "" if rows or stated else skip_reason(payload) or "it has no identifier and no table"


def _exact_payload(text: str) -> dict[str, Any]:
    """The event without NUL and lone surrogates, with exact integers of any length.

    The event was accepted, so unlike the gateway's reader this one refuses nothing.
    """
    digits = text.encode(errors="replace").translate(_DIGITS)
    if "\\u0000" not in text and not any(number in digits for number in _LONG_NUMBERS):
        try:
            return orjson.loads(text)  # type: ignore[no-any-return]
        except orjson.JSONDecodeError:
            logger.debug("an event needs the slow decoder")
    return cleaned_json(json.loads(text))  # type: ignore[no-any-return]


def _metadata(feed: Feed) -> Metadata:
    return Metadata(
        source_id=feed.source_id,
        source_type=feed.source_type,
        source_category=feed.source_category,
        destination_id=feed.destination_id,
        destination_type=feed.destination_type,
    )


def _new_id() -> str:
    return str(uuid.uuid4())
