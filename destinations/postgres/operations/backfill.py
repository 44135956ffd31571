"""Resolves the identities of event rows that were loaded while resolution was off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed

from destinations.postgres import catalogue
from destinations.postgres.connection import Conn
from destinations.postgres.identity import graph_schema, resolve, restamp
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import columns
from destinations.warehouse.identity.statements import ANONYMOUS_ID, USER_ID, Identifier, Statement
from destinations.warehouse.rows.reserved_names import EVENT_TABLES

BATCH = 5_000

PAIRS = """
SELECT {user}, {other}, min(received_at), min({time}), max({time})
FROM {table}
WHERE {user} IS NOT NULL OR {other} IS NOT NULL
GROUP BY 1, 2
ORDER BY 3
"""

UNSTAMPED_PEOPLE = """
SELECT {user}, {device}
FROM {table} t
WHERE rudder_profile_id IS NULL
GROUP BY 1, 2
"""

STAMP_ROWS = """
UPDATE {table} t
SET rudder_profile_id = k.rudder_id
FROM unnest(%s::text[], %s::text[], %s::uuid[]) k (user_id, anonymous_id, rudder_id)
WHERE t.rudder_profile_id IS NULL
    AND coalesce({user}, '') = coalesce(k.user_id, '')
    AND coalesce({device}, '') = coalesce(k.anonymous_id, '')
"""


@dataclass(frozen=True)
class BackfillResult:
    people: int
    rows: int


def backfill_identities(conn: Conn, schema: str, namespaces: Sequence[str]) -> BackfillResult:
    """Resolve the pairs of ids in rows at their first received_at, then stamp them; repeatable."""
    rules = graph_schema.read_rules(conn, schema)
    meta = graph_schema.read_meta(conn, schema)
    count = 0
    for table in catalogue.tables(conn, namespaces, EVENT_TABLES.values()):
        statements = list(_statements(conn, table, rules))
        count += len(statements)
        for start in range(0, len(statements), BATCH):
            with graph_schema.operator_lock_shared(conn, schema):
                resolve.resolve_statements(conn, schema, statements[start : start + BATCH])
    with graph_schema.operator_lock(conn, schema), conn.transaction():
        graph = Graph(conn, schema)
        tables = restamp.stamped_tables(graph, namespaces)
        rows = sum(_stamp_rows(graph, meta.salt, table) for table in tables)
    return BackfillResult(count, rows)


def _statements(conn: Conn, table: catalogue.CatalogTable, rules: Any) -> Iterator[Statement]:
    is_alias = table.name == "aliases"
    needed = {"user_id", "anonymous_id", "received_at"} | ({"previous_id"} if is_alias else set())
    if not table.columns.keys() >= needed:
        return
    other_type = USER_ID if is_alias else ANONYMOUS_ID
    for user, other, received_at, first_at, last_at in conn.execute(_pairs_query(table, is_alias)):
        own = [Identifier(USER_ID, user)] if user else []
        further = [Identifier(other_type, other)] if other and (user or not is_alias) else []
        stated = [
            identifier
            for identifier in (*own, *further)
            if rules.blocks.blocking_rule(*identifier) is None
        ]
        if not stated:
            continue
        primary = next((one for one in stated if not is_alias or one in own), None)
        for event_time in {first_at or received_at, last_at or received_at}:
            yield Statement(
                tuple(dict.fromkeys(stated)), primary, {}, event_time, received_at, "", table.schema
            )


def _pairs_query(table: catalogue.CatalogTable, is_alias: bool) -> Composed:
    return SQL(PAIRS).format(
        user=SQL("user_id::text"),
        other=SQL("previous_id::text") if is_alias else SQL("anonymous_id::text"),
        time=pgsql.Identifier("timestamp" if "timestamp" in table.columns else "received_at"),
        table=table.sql,
    )


def _stamp_rows(graph: Graph, salt: bytes, table: restamp.StampedTable) -> int:
    people = graph.conn.execute(table.sql(UNSTAMPED_PEOPLE)).fetchall()
    owners = restamp.primary_profiles(graph, salt, people)
    rows = [(*person, owner) for person, owner in owners.items()]
    if not rows:
        return 0
    return graph.conn.execute(table.sql(STAMP_ROWS), columns(rows)).rowcount
