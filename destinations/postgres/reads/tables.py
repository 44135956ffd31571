"""Reads of tables, columns and discards for pages, each with a short time limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from psycopg import errors
from psycopg import sql as pgsql
from psycopg.sql import SQL, Composable, Composed, Literal

from destinations.interface import DestinationUnavailableError
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn, one_line, table_exists
from destinations.warehouse.rows.schema import EXTRA_COLUMN

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 5
LOCK_SECONDS = 1
PREVIEW_ROWS = 20
MOST_GROUPS = 200
FETCHED_DISCARDS = 2_000
COUNTED_BLOCKS = 128
"""Rows are counted in tables of at most this many blocks, a megabyte."""
MOST_MEASURED = 150
"""Tables to query, since each costs a plan; others show the catalogue's estimates."""
NEWEST_BLOCKS = 64
"""The newest row of a bigger table is searched in this many blocks at its end."""

_MEASURED = (
    SQL("pg_total_relation_size(oid)"),
    SQL("pg_relation_size(oid) / current_setting('block_size')::int"),
)
"""Current size and blocks; reading them waits for the lock of a table that is being changed."""

_NOTED = (SQL("relpages * current_setting('block_size')::bigint"), SQL("relpages"))
"""Size and blocks from the last time Postgres sampled the table."""

_TABLES = """
SELECT nspname, relname, size,
    (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = kept.oid AND a.attnum > 0
        AND NOT a.attisdropped),
    CASE WHEN is_readable THEN blocks ELSE 2147483647 END,
    CASE
        WHEN relkind = 'p' THEN NULLIF(reltuples, -1)
        WHEN relpages > 0 AND reltuples >= 0 THEN reltuples / relpages * blocks
    END::bigint,
    is_readable AND EXISTS (
        SELECT FROM pg_attribute a
        WHERE a.attrelid = kept.oid AND a.attname = 'received_at'
            AND a.atttypid = 'timestamptz'::regtype
    ),
    EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = kept.oid AND a.attname = {extra})
FROM (
    SELECT nspname, c.oid, relname, relkind, reltuples, relpages,
        {size} AS size,
        {blocks} AS blocks,
        relkind = 'r' AND has_table_privilege(c.oid, 'SELECT') AS is_readable
    FROM pg_class c JOIN (SELECT oid AS space, nspname FROM pg_namespace) n ON space = relnamespace
    WHERE nspname = ANY (%s) AND relkind IN ('r', 'p')
) AS kept
ORDER BY nspname, relname
"""

_NEWEST = "(SELECT max(received_at) FROM {} WHERE ctid >= {}::tid)"

_DISCARDS_BY_COLUMN = """
SELECT column_name, count(*)
FROM {}
WHERE table_name = %s
GROUP BY 1
"""

_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), 1 - s.null_frac,
    coalesce(col_description(c.oid, a.attnum), '')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid
LEFT JOIN pg_stats s
    ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

_SMALL = """
SELECT 1
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'
    AND has_table_privilege(c.oid, 'SELECT')
    AND pg_relation_size(c.oid) <= %s * current_setting('block_size')::bigint
"""

_HOLDS = "strpos(lower(concat(table_name, '.', column_name, ' ', reason)), lower({})) > 0"

_DISCARD_GROUPS = """
SELECT table_name, column_name, reason, count(*), max(column_value), min(received_at),
    max(received_at)
FROM {table} {wanted}
GROUP BY 1, 2, 3
ORDER BY 4 DESC, 1, 2
LIMIT %s
"""

_DISCARDS = """
SELECT table_name, column_name, column_value, reason, row_id, received_at
FROM {table} {wanted}
"""


class TableSummary(NamedTuple):
    schema: str
    name: str
    size_bytes: int
    columns: int
    exact: bool
    """Whether rows are counted; else they are an estimate."""
    rows: int | None
    newest: datetime | None
    """The latest received_at; None if there is none or it was not queried."""
    is_full: bool
    """Whether the column budget is used up, so that further properties share one column."""


class ColumnSummary(NamedTuple):
    name: str
    type: str
    fill: float | None
    """The share of rows with a value; None for no rows, or before Postgres sampled them."""
    comment: str
    """The description, with the day when the column was first seen."""
    exact: bool = False
    """Whether the fill is counted; else it is from a sample."""


class _TableEntry(NamedTuple):
    """A table in the catalogue."""

    schema: str
    name: str
    size_bytes: int
    columns: int
    blocks: int
    estimate: int | None
    is_dated: bool
    is_full: bool

    @property
    def is_small(self) -> bool:
        return self.blocks <= COUNTED_BLOCKS


class DiscardGroup(NamedTuple):
    table: str
    column: str
    reason: str
    values: int
    sample: str
    first: datetime | None
    last: datetime | None


class DiscardFilter(NamedTuple):
    """Selects discards of a table and with a text in table, column or reason; empty for any."""

    table: str = ""
    text: str = ""

    def condition(self) -> Composed:
        parts: list[Composable] = []
        if self.table:
            parts.append(SQL("table_name = {}").format(Literal(self.table)))
        if self.text:
            parts.append(SQL(_HOLDS).format(Literal(self.text)))
        return SQL("WHERE {}").format(SQL(" AND ").join(parts)) if parts else Composed([])


EVERY_DISCARD = DiscardFilter()


@contextmanager
def connect_read_only(config: PostgresConfig) -> Iterator[Conn]:
    """A read-only connection; raises DestinationUnavailableError for any error of Postgres."""
    options = (
        f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_SECONDS}s"
        f" -c lock_timeout={LOCK_SECONDS}s"
    )
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
        raise DestinationUnavailableError(one_line(error)) from error


def table_summaries(conn: Conn, schemas: Sequence[str]) -> list[TableSummary]:
    """The tables of the schemas; all with estimates if one is locked or takes too long."""
    try:
        entries = _table_entries(conn, schemas, *_MEASURED)
        facts = _table_facts(conn, entries[:MOST_MEASURED])
    except (errors.QueryCanceled, errors.LockNotAvailable):
        entries, facts = _table_entries(conn, schemas, *_NOTED), {}
    return [
        _table_summary(entry, *facts.get(number, (None, None)))
        for number, entry in enumerate(entries)
    ]


def _table_entries(conn: Conn, schemas: Sequence[str], size: SQL, blocks: SQL) -> list[_TableEntry]:
    query = SQL(_TABLES).format(size=size, blocks=blocks, extra=Literal(EXTRA_COLUMN))
    return [_TableEntry(*row) for row in conn.execute(query, [list(schemas)])]


def _table_summary(entry: _TableEntry, rows: int | None, newest: datetime | None) -> TableSummary:
    exact = rows is not None
    shown = rows if exact else entry.estimate
    counts = (entry.size_bytes, entry.columns, exact, shown, newest, entry.is_full)
    return TableSummary(entry.schema, entry.name, *counts)


def _table_facts(
    conn: Conn, entries: Sequence[_TableEntry]
) -> dict[int, tuple[int | None, datetime | None]]:
    """The rows, counted in small tables, and the latest received_at, by position of the entry."""
    if not entries:
        return {}
    parts = [_fact_query(number, entry) for number, entry in enumerate(entries)]
    rows = conn.execute(SQL(" UNION ALL ").join(parts)).fetchall()
    return {number: (count, newest) for number, count, newest in rows}


def _fact_query(number: int, entry: _TableEntry) -> Composed:
    table = pgsql.Identifier(entry.schema, entry.name)
    first = Literal(f"({max(entry.blocks - NEWEST_BLOCKS, 0)},0)")
    count: Composable = SQL("NULL::bigint")
    newest: Composable = SQL("NULL::timestamptz")
    if entry.is_small:
        count = SQL("(SELECT count(*) FROM {})").format(table)
    if entry.is_dated:
        newest = SQL(_NEWEST).format(table, first)
    return SQL("SELECT {}::int, {}, {}").format(Literal(number), count, newest)


def column_summaries(conn: Conn, schema: str, table: str) -> list[ColumnSummary]:
    """The columns of a table; the fill is counted in a small one."""
    summaries = [ColumnSummary(*row) for row in conn.execute(_COLUMNS, [schema, table])]
    if not summaries or not _is_small(conn, schema, table):
        return summaries
    names = [pgsql.Identifier(summary.name) for summary in summaries]
    filled = SQL(", ").join(SQL("count({})").format(name) for name in names)
    query = SQL("SELECT count(*), {} FROM {}").format(filled, pgsql.Identifier(schema, table))
    rows, *counts = conn.execute(query).fetchall()[0]
    return [
        summary._replace(fill=count / rows if rows else None, exact=True)
        for summary, count in zip(summaries, counts, strict=True)
    ]


def _is_small(conn: Conn, schema: str, table: str) -> bool:
    row = conn.execute(_SMALL, [schema, table, COUNTED_BLOCKS]).fetchone()
    return row is not None


def preview_rows(
    conn: Conn, schema: str, table: str, row_id: str = ""
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names, and some rows or the one with an id."""
    chosen = SQL("WHERE id = {}").format(Literal(row_id)) if row_id else SQL("")
    query = SQL("SELECT * FROM {} {} LIMIT {}").format(
        pgsql.Identifier(schema, table), chosen, Literal(PREVIEW_ROWS)
    )
    cursor = conn.execute(query)
    return [column.name for column in cursor.description or []], cursor.fetchall()


def discards_by_column(conn: Conn, schema: str, table: str) -> dict[str, int]:
    if not table_exists(conn, schema, "rudder_discards"):
        return {}
    query = SQL(_DISCARDS_BY_COLUMN).format(pgsql.Identifier(schema, "rudder_discards"))
    return dict(conn.execute(query, [table]).fetchall())


def discard_groups(
    conn: Conn, schema: str, wanted: DiscardFilter = EVERY_DISCARD
) -> list[DiscardGroup]:
    """Discards by table, column and reason, from the most frequent."""
    if not table_exists(conn, schema, "rudder_discards"):
        return []
    query = _discard_query(_DISCARD_GROUPS, schema, wanted)
    return [DiscardGroup(*row) for row in conn.execute(query, [MOST_GROUPS])]


def count_discards(conn: Conn, schema: str, wanted: DiscardFilter = EVERY_DISCARD) -> int:
    if not table_exists(conn, schema, "rudder_discards"):
        return 0
    query = _discard_query("SELECT count(*) FROM {table} {wanted}", schema, wanted)
    return int(conn.execute(query).fetchall()[0][0])


def discards(
    conn: Conn, schema: str, wanted: DiscardFilter = EVERY_DISCARD
) -> Iterator[tuple[Any, ...]]:
    """All discards in the order of the table, fetched in batches for a file of any size."""
    if not table_exists(conn, schema, "rudder_discards"):
        return
    with conn.transaction(), conn.cursor(name="discards") as cursor:
        cursor.itersize = FETCHED_DISCARDS
        yield from cursor.execute(_discard_query(_DISCARDS, schema, wanted))


def _discard_query(text: str, schema: str, wanted: DiscardFilter) -> Composed:
    table = pgsql.Identifier(schema, "rudder_discards")
    return SQL(text).format(table=table, wanted=wanted.condition())
