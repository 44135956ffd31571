"""Finds the rows, discards and profile of one event in a warehouse; reads only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed, Literal

from destinations.interface import Chunk, Feed, LoggedEvent
from destinations.postgres.connection import Conn, table_exists
from destinations.postgres.identity import graph_schema
from destinations.postgres.load import chunk_content
from destinations.postgres.reads import profiles
from destinations.warehouse.identity.statements import DEFAULTS, Identifier, Rules, Statement
from destinations.warehouse.rows.schema import DISCARDS
from destinations.warehouse.rows.transform import Options

MOST_LINKS = 1_000

_DISCARDS = """
SELECT d.table_name, d.column_name, d.column_value, d.reason
FROM unnest(%s::text[], %s::text[]) AS row (table_name, id)
JOIN {} d ON d.table_name = row.table_name AND d.row_id = row.id
ORDER BY 1, 2
"""


class RowPlace(NamedTuple):
    """The place of one of the event's rows, with a query for it."""

    table: str
    row_id: str
    query: str
    is_there: bool | None
    """None if the warehouse was not queried."""


class EventDiscard(NamedTuple):
    table: str
    column: str
    value: str
    reason: str


@dataclass(frozen=True)
class ExpectedRows:
    """The rows and the statement that a load makes of an event."""

    rows: Mapping[str, str]
    """The ids of its rows by table."""
    skipped: str
    """The reason why the event has no rows; empty if it has some or is refused."""
    stated: Statement | None


@dataclass(frozen=True)
class StoredEvent:
    """The rows, discards, profile and links of an event in the warehouse."""

    places: Sequence[RowPlace]
    discards: Sequence[EventDiscard]
    profile: profiles.ProfileRecord | None
    links: Sequence[profiles.LinkRecord]
    """Links in force between identifiers that the event names, its own links first."""
    stated: Statement | None


def expected_rows(
    event: LoggedEvent, feed: Feed, config: Mapping[str, Any], rules: Rules = DEFAULTS
) -> ExpectedRows:
    chunk = Chunk(event.id - 1, event.id, [event])
    prepared = chunk_content.prepare_chunk(chunk, feed, Options.from_config(config), rules)
    content = chunk_content.prepared_content(prepared)
    rows = {}
    for table, kept in content.rows.items():
        for row_id, content_row in kept.items():
            rows[table] = row_id
            if content_row.is_user:
                rows["users"] = content_row.row.values["user_id"]
    return ExpectedRows(
        rows, next(iter(prepared.skipped), ""), next(iter(content.statements), None)
    )


def find_event(
    conn: Conn, event: LoggedEvent, feed: Feed, config: Mapping[str, Any], schema: str
) -> StoredEvent:
    """Find an event; `schema` is the identity schema, without which there is no profile."""
    resolves = table_exists(conn, schema, "identity_meta")
    rules = graph_schema.read_rules(conn, schema) if resolves else DEFAULTS
    expected = expected_rows(event, feed, config, rules)
    places = [_row_place(conn, feed.namespace, *row) for row in expected.rows.items()]
    profile = _primary_profile(conn, schema, expected.stated) if resolves else None
    return StoredEvent(
        places=places,
        discards=_event_discards(conn, feed.namespace, expected.rows),
        profile=profile,
        links=_event_links(conn, schema, profile, expected.stated) if profile else [],
        stated=expected.stated,
    )


def row_places(namespace: str, expected: ExpectedRows) -> list[RowPlace]:
    """The places of expected rows, without a query of the warehouse."""
    return [
        RowPlace(*row, select_row(namespace, *row).as_string(None), is_there=None)
        for row in expected.rows.items()
    ]


def select_row(namespace: str, table: str, row_id: str) -> Composed:
    return SQL("SELECT * FROM {} WHERE id = {};").format(
        pgsql.Identifier(namespace, table), Literal(row_id)
    )


def _row_place(conn: Conn, namespace: str, table: str, row_id: str) -> RowPlace:
    query = select_row(namespace, table, row_id)
    is_there = table_exists(conn, namespace, table) and conn.execute(query).fetchone() is not None
    return RowPlace(table, row_id, query.as_string(conn), is_there)


def _event_discards(conn: Conn, namespace: str, rows: Mapping[str, str]) -> list[EventDiscard]:
    if not rows or not table_exists(conn, namespace, DISCARDS):
        return []
    query = SQL(_DISCARDS).format(pgsql.Identifier(namespace, DISCARDS))
    return [EventDiscard(*row) for row in conn.execute(query, [list(rows), list(rows.values())])]


def _primary_profile(
    conn: Conn, schema: str, stated: Statement | None
) -> profiles.ProfileRecord | None:
    if stated is None or stated.primary is None:
        return None
    kind, value = stated.primary
    return next(iter(profiles.find_profiles(conn, schema, value, kind)), None)


def _event_links(
    conn: Conn, schema: str, profile: profiles.ProfileRecord, stated: Statement | None
) -> list[profiles.LinkRecord]:
    if stated is None:
        return []
    named = set(stated.identifiers)
    touching = [
        link
        for link in profiles.links(conn, schema, profile.rudder_id, MOST_LINKS)
        if link.state == "+"
        and named & {Identifier(link.type_a, link.value_a), Identifier(link.type_b, link.value_b)}
    ]
    return sorted(touching, key=lambda link: link.message_id != stated.message_id)
