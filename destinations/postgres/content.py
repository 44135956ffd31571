"""A chunk as a warehouse will hold it: rows by table and identity statements."""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import orjson

from destinations.interface import Chunk, Feed, LoggedEvent, Prepared
from destinations.warehouse.identity import (
    Identifier,
    MalformedMergeError,
    Rules,
    Statement,
    statement,
)
from destinations.warehouse.schema import storable
from destinations.warehouse.transform import (
    Metadata,
    Options,
    Row,
    TransformError,
    skip_reason,
    transform,
)
from destinations.warehouse.users import latest, user_row

logger = logging.getLogger(__name__)

PROFILE_COLUMN = "rudder_profile_id"


@dataclass
class Content:
    """Rows by table, of each id the newest, beside the identifier whose profile they belong to."""

    rows: dict[str, dict[Any, tuple[Row, Identifier | None]]] = field(default_factory=dict)
    users: list[tuple[Row, Identifier | None]] = field(default_factory=list)
    statements: list[Statement] = field(default_factory=list)

    def add(self, row: Row, primary: Identifier | None) -> None:
        """Keep the row unless one of its id was received at the same time or later."""
        table = self.rows.setdefault(row.table, {})
        known = table.get(row.values["id"])
        if known is None or known[0].values["received_at"] < row.values["received_at"]:
            table[row.values["id"]] = (row, primary)

    def tables(self, profiles: Mapping[Identifier, UUID]) -> dict[str, list[Row]]:
        """The rows of each table, stamped with the profile of their primary identifier."""
        stamps = {identifier: str(profile) for identifier, profile in profiles.items()}
        tables = {
            table: [_stamped(row, primary, stamps) for row, primary in rows.values()]
            for table, rows in self.rows.items()
        }
        if self.users:
            users = latest(_stamped(row, primary, stamps) for row, primary in self.users)
            tables["users"] = sorted(users, key=lambda row: str(row.values["id"]))
        return tables


def prepare(chunk: Chunk, feed: Feed, options: Options, rules: Rules | None) -> Prepared:
    """Transform the chunk's events; those that cannot be rows are dead letters or skipped.

    Without rules of identity no identities are resolved.
    """
    content = Content()
    dead_letters: list[tuple[LoggedEvent, str]] = []
    skipped: Counter[str] = Counter()
    for event in chunk.events:
        try:
            reason = _add(content, event, feed, options, rules)
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
    return Prepared(chunk, content, dead_letters, skipped)


def _add(
    content: Content, event: LoggedEvent, feed: Feed, options: Options, rules: Rules | None
) -> str:
    """The reason why the event gives nothing; empty when it gave rows or a statement."""
    payload = orjson.loads(event.payload)
    rows = [storable(row) for row in transform(payload, _metadata(feed), options, new_id=_new_id)]
    stated = statement(payload, feed.source_id, rules) if rules else None
    primary = stated.primary if stated else None
    if stated:
        content.statements.append(stated)
    for row in rows:
        if row.table == "users":
            content.users.append((user_row(rows[0]), primary))
        else:
            content.add(row, primary)
    return "" if rows or stated else skip_reason(payload) or "it names nobody and has no table"


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


def _stamped(row: Row, primary: Identifier | None, stamps: Mapping[Identifier, str]) -> Row:
    """The row itself, which is ours alone, with its stamp."""
    if primary is not None and primary in stamps:
        row.types[PROFILE_COLUMN] = "uuid"
        row.values[PROFILE_COLUMN] = stamps[primary]
    return row
