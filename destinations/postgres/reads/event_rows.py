"""What a warehouse has of one event: its rows, its discards and its profile. Reads only."""

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
    """Where a row of the event belongs, with the query that shows it."""

    table: str
    row_id: str
    query: str
    is_there: bool | None
    """None when the warehouse was not asked."""


class EventDiscard(NamedTuple):
    table: str
    column: str
    value: str
    reason: str


@dataclass(frozen=True)
class ExpectedRows:
    """What a load with these options makes of an event."""

    rows: Mapping[str, str]
    """The ids of its rows by table."""
    skipped: str
    """Why it has no rows; empty when it has some or is refused."""
    stated: Statement | None


@dataclass(frozen=True)
class StoredEvent:
    places: Sequence[RowPlace]
    discards: Sequence[EventDiscard]
    profile: profiles.ProfileRecord | None
    links: Sequence[profiles.LinkRecord]
    """Links in force of the identifiers that the event names, its own first."""
    stated: Statement | None


def expected_rows(
    event: LoggedEvent, feed: Feed, config: Mapping[str, Any], rules: Rules = DEFAULTS
) -> ExpectedRows:
    chunk = Chunk(event.id - 1, event.id, [event])
    prepared = chunk_content.prepare_chunk(chunk, feed, Options.from_config(config), rules)
    made = chunk_content.prepared_content(prepared)
    rows = {}
    for table, kept in made.rows.items():
        for row_id, each in kept.items():
            rows[table] = row_id
            if each.is_user:
                rows["users"] = each.row.values["user_id"]
    return ExpectedRows(rows, next(iter(prepared.skipped), ""), next(iter(made.statements), None))


def find_event(
    conn: Conn, event: LoggedEvent, feed: Feed, config: Mapping[str, Any], schema: str
) -> StoredEvent:
    """Schema is that of the identities; without them there is no profile."""
    resolves = table_exists(conn, schema, "identity_meta")
    rules = graph_schema.read_rules(conn, schema) if resolves else DEFAULTS
    found = expected_rows(event, feed, config, rules)
    places = [_place(conn, feed.namespace, *row) for row in found.rows.items()]
    profile = _profile(conn, schema, found.stated) if resolves else None
    return StoredEvent(
        places=places,
        discards=_discards(conn, feed.namespace, found.rows),
        profile=profile,
        links=_links(conn, schema, profile, found.stated) if profile else [],
        stated=found.stated,
    )


def row_places(namespace: str, found: ExpectedRows) -> list[RowPlace]:
    """Without asking the warehouse."""
    return [
        RowPlace(*row, select_row(namespace, *row).as_string(None), is_there=None)
        for row in found.rows.items()
    ]


def select_row(namespace: str, table: str, row_id: str) -> Composed:
    return SQL("SELECT * FROM {} WHERE id = {};").format(
        pgsql.Identifier(namespace, table), Literal(row_id)
    )


def _place(conn: Conn, namespace: str, table: str, row_id: str) -> RowPlace:
    query = select_row(namespace, table, row_id)
    is_there = table_exists(conn, namespace, table) and conn.execute(query).fetchone() is not None
    return RowPlace(table, row_id, query.as_string(conn), is_there)


def _discards(conn: Conn, namespace: str, rows: Mapping[str, str]) -> list[EventDiscard]:
    if not rows or not table_exists(conn, namespace, DISCARDS):
        return []
    query = SQL(_DISCARDS).format(pgsql.Identifier(namespace, DISCARDS))
    return [EventDiscard(*row) for row in conn.execute(query, [list(rows), list(rows.values())])]


def _profile(conn: Conn, schema: str, stated: Statement | None) -> profiles.ProfileRecord | None:
    if stated is None or stated.primary is None:
        return None
    kind, value = stated.primary
    return next(iter(profiles.find_profiles(conn, schema, value, kind)), None)


def _links(
    conn: Conn, schema: str, profile: profiles.ProfileRecord, stated: Statement | None
) -> list[profiles.LinkRecord]:
    if stated is None:
        return []
    named = set(stated.identifiers)
    touching = [
        link
        for link in profiles.links(conn, schema, profile.rudder_id, MOST_LINKS)
        if link.state == "+" and named & {_first(link), _second(link)}
    ]
    return sorted(touching, key=lambda link: link.message_id != stated.message_id)


def _first(link: profiles.LinkRecord) -> Identifier:
    return Identifier(link.type_a, link.value_a)


def _second(link: profiles.LinkRecord) -> Identifier:
    return Identifier(link.type_b, link.value_b)
