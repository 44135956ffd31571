"""A chunk as a warehouse will hold it: rows by table and identity statements."""

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
from destinations.warehouse.identity.erasure import BLANK, DELETE, Erased, blank, without_erased
from destinations.warehouse.identity.statements import (
    Identifier,
    MalformedMergeError,
    Rules,
    Statement,
    statement,
)
from destinations.warehouse.json_text import cleaned
from destinations.warehouse.rows.dialect import DESTINATION_TYPE
from destinations.warehouse.rows.options import is_switched_off
from destinations.warehouse.rows.schema import PROFILE_COLUMN, storable
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
"""Integers of so many digits may be past 64 bits, where orjson rounds."""


class PreparedRow(NamedTuple):
    """A row, the identifier whose profile it belongs to, and whether it makes a users row."""

    row: Row
    primary: Identifier | None
    is_user: bool


@dataclass
class ChunkContent:
    """Rows by table, of each id the newest, and what the events say of identities.

    Rows of one shape share one object of types, so that its needs are worked out once.
    """

    rows: dict[str, dict[str, PreparedRow]] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)
    shapes: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    repeated: Counter[str] = field(default_factory=Counter)
    """Rows by table that have the id of another one of the chunk."""
    erased: set[str] = field(default_factory=set)
    """Ids of the rows that were left out, since their person was erased."""
    events: Sequence[LoggedEvent] = ()
    rewritten: dict[int, dict[str, Any]] = field(default_factory=dict)
    """What the log may keep of the events that name erased people, by their ids."""

    def add(self, row: Row, primary: Identifier | None, *, is_user: bool) -> None:
        """Keep the row unless one of its id was received at the same time or later."""
        table = self.rows.setdefault(row.table, {})
        row_id = row.values["id"]
        key = row_id if type(row_id) is str else str(row_id)
        known = table.get(key)
        if known is not None:
            self.repeated[row.table] += 1
            if known.row.values["received_at"] >= row.values["received_at"]:
                return
            del table[key]  # so that the rows stay in the order of loading
        types = self.shapes.setdefault((*row.types, *row.types.values()), row.types)
        table[key] = PreparedRow(Row(row.table, types, row.values), primary, is_user)

    def stamp(self, profiles: Mapping[Identifier, UUID]) -> None:
        """Give each row the profile of its primary identifier."""
        stamps = {identifier: str(profile) for identifier, profile in profiles.items()}
        for table in self.rows.values():
            for row, primary, _ in table.values():
                if primary is not None and (stamp := stamps.get(primary)) is not None:
                    row.values[PROFILE_COLUMN] = stamp

    def leave_out(self, modes: Mapping[Identifier, str]) -> None:
        """Drop or empty the rows of erased people, and erased values in the rows of others."""
        if not modes:
            return
        erased = Erased(modes)
        for table in self.rows.values():
            for key, kept in list(table.items()):
                mode = modes.get(kept.primary) if kept.primary else None
                if mode == DELETE:
                    self.erased.add(key)
                    del table[key]
                elif mode == BLANK:
                    blank(kept.row.values)
                    table[key] = PreparedRow(kept.row, None, is_user=False)
                else:
                    erased.clear(kept.row.values)
        self.rows = {name: table for name, table in self.rows.items() if table}
        self._rewrite(erased)

    def _rewrite(self, erased: Erased) -> None:
        named = {each.message_id: each.primary for each in self.statements if erased.names(each)}
        for event in self.events:
            if event.message_id in named:
                payload = json.loads(event.payload)
                if new := without_erased(payload, named[event.message_id], erased):
                    self.rewritten[event.id] = new

    def shapes_of(self, table: str) -> Iterator[dict[str, str]]:
        """The distinct types of a table's rows."""
        types = (kept.row.types for kept in self.rows[table].values())
        return iter({id(each): each for each in types}.values())


def prepare_chunk(chunk: Chunk, feed: Feed, options: Options, rules: Rules | None) -> PreparedChunk:
    """Transform the chunk's events; those that cannot be rows are dead letters or skipped.

    Without rules of identity no identities are resolved.
    """
    content = ChunkContent(events=chunk.events)
    dead_letters: list[tuple[LoggedEvent, str]] = []
    skipped: Counter[str] = Counter()
    metadata = _metadata(feed)
    for event in chunk.events:
        try:
            reason = _add(content, event, feed, metadata, options, rules)
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
    """The content that prepare() gave; empty when all events of the chunk are dead letters."""
    return cast("ChunkContent", prepared.content or ChunkContent())


def event_tables(event: LoggedEvent, feed: Feed, options: Options) -> list[str]:
    """The tables that an event has rows in; it has been prepared before, to no error."""
    payload = _payload(event.payload)
    if is_switched_off(payload) or (feed.event_filter and not feed.event_filter.takes(payload)):
        return []
    return [row.table for row in transform(payload, _metadata(feed), options, new_id=_new_id)]


def _add(
    content: ChunkContent,
    event: LoggedEvent,
    feed: Feed,
    metadata: Metadata,
    options: Options,
    rules: Rules | None,
) -> str:
    """The reason why the event gives nothing; empty when it gave rows or a statement."""
    payload = _payload(event.payload)
    if feed.event_filter and not feed.event_filter.takes(payload):
        return FILTERED
    if "integrations" in payload and is_switched_off(payload):
        return SWITCHED_OFF
    if _is_for_another(payload.get("rudderDestinationId"), metadata.destination_id):
        return FOR_ANOTHER
    rows = [storable(row) for row in transform(payload, metadata, options, new_id=_new_id)]
    stated = statement(payload, metadata.source_id, rules) if rules else None
    primary = stated.primary if stated else None
    if stated:
        content.statements.append(stated)
    is_user = len(rows) > 1 and rows[1].table == "users"
    for row in rows[:1] if is_user else rows:  # users are made of identifies
        content.add(row, primary, is_user=is_user)
    return "" if rows or stated else skip_reason(payload) or "it has no identifier and no table"


def _is_for_another(destination_id: Any, own: str) -> bool:
    """Reverse ETL may name the one destination of its events."""
    return isinstance(destination_id, str) and destination_id not in {"", own}


def _payload(text: str) -> dict[str, Any]:
    """The event, exactly: without NUL and broken pairs, integers of any length in full.

    It was accepted, so unlike the gateway's reader this one refuses nothing.
    """
    digits = text.encode(errors="replace").translate(_DIGITS)
    if "\\u0000" not in text and not any(each in digits for each in _LONG_NUMBERS):
        try:
            return orjson.loads(text)  # type: ignore[no-any-return]
        except orjson.JSONDecodeError:
            logger.debug("an event needs the slow decoder")
    return cleaned(json.loads(text))  # type: ignore[no-any-return]


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
