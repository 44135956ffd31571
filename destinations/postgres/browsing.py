"""What a warehouse holds, for people who look: reads only, each with a short time limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from destinations.interface import DestinationUnavailableError
from destinations.postgres.config import PostgresConfig

Conn = psycopg.Connection[tuple[Any, ...]]

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 5
PREVIEW_ROWS = 20
MOST_GROUPS = 200


class Table(NamedTuple):
    schema: str
    name: str
    rows: int
    """Postgres's own estimate."""
    size_bytes: int
    columns: int


class Column(NamedTuple):
    name: str
    type: str
    fill: float | None
    """The share of rows with a value, as Postgres last sampled it; None before it did."""


class DiscardGroup(NamedTuple):
    table: str
    column: str
    reason: str
    values: int
    sample: str
    first: datetime | None
    last: datetime | None


@contextmanager
def opened(config: PostgresConfig) -> Iterator[Conn]:
    """A connection that can only read; DestinationUnavailableError for whatever goes wrong."""
    options = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_SECONDS}s"
    try:
        with psycopg.connect(
            config.conninfo(),
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=CONNECT_SECONDS,
            options=options,
        ) as conn:
            yield conn
    except psycopg.Error as error:
        raise DestinationUnavailableError(" ".join(str(error).split())) from error


def tables(conn: Conn, schemas: Sequence[str]) -> list[Table]:
    return [Table(*row) for row in conn.execute(_TABLES, [list(schemas)])]


def columns(conn: Conn, schema: str, table: str) -> list[Column]:
    return [Column(*row) for row in conn.execute(_COLUMNS, [schema, table])]


def preview(
    conn: Conn, schema: str, table: str, row_id: str = ""
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names of the columns, and some rows or the one with an id."""
    chosen = SQL("WHERE id = {}").format(Literal(row_id)) if row_id else SQL("")
    query = SQL("SELECT * FROM {} {} LIMIT {}").format(
        Identifier(schema, table), chosen, Literal(PREVIEW_ROWS)
    )
    cursor = conn.execute(query)
    return [column.name for column in cursor.description or []], cursor.fetchall()


def discard_groups(conn: Conn, schema: str) -> list[DiscardGroup]:
    """By table, column and reason, the most first; none before the first discard."""
    if not _has(conn, schema, "rudder_discards"):
        return []
    query = SQL(_DISCARD_GROUPS).format(Identifier(schema, "rudder_discards"))
    return [DiscardGroup(*row) for row in conn.execute(query, [MOST_GROUPS])]


def discards(conn: Conn, schema: str) -> Iterator[tuple[Any, ...]]:
    """All of them, for a file; the newest first."""
    if _has(conn, schema, "rudder_discards"):
        query = SQL(_DISCARDS).format(Identifier(schema, "rudder_discards"))
        yield from conn.execute(query)


def _has(conn: Conn, schema: str, table: str) -> bool:
    query = "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL"
    row = conn.execute(query, [schema, table]).fetchone()
    return bool(row and row[0])


_TABLES = """
SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid),
    (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
        AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (%s) AND c.relkind IN ('r', 'p')
ORDER BY n.nspname, c.relname
"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), 1 - s.null_frac
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_stats s
    ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""
_DISCARD_GROUPS = """
SELECT table_name, column_name, reason, count(*), max(column_value), min(received_at),
    max(received_at)
FROM {}
GROUP BY 1, 2, 3
ORDER BY 4 DESC, 1, 2
LIMIT %s
"""
_DISCARDS = """
SELECT table_name, column_name, column_value, reason, row_id, received_at
FROM {}
ORDER BY received_at DESC
"""
