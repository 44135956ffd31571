"""A preview of widening a column and re-applying its discards; reads only."""

from __future__ import annotations

from typing import NamedTuple

from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.postgres.connection import Conn
from destinations.postgres.load.tables import Namespace
from destinations.postgres.operations.reapply_discards import takes_values
from destinations.warehouse.rows.discarded_values import stored_text
from destinations.warehouse.rows.narrow_types import is_whole
from destinations.warehouse.rows.schema import DISCARDS

MOST_TRIED = 2_000

_COUNT = "SELECT count(*) FROM {} WHERE table_name = %s AND column_name = %s"

_SAMPLE = """
SELECT column_value, reason
FROM {}
WHERE table_name = %s AND column_name = %s
LIMIT %s
"""

_SIZE = """
SELECT
    (
        SELECT format_type(a.atttypid, a.atttypmod)
        FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE n.nspname = %s AND a.attname = %s AND c.relname = %s
    ),
    CASE WHEN min(reltuples) >= 0 THEN sum(reltuples)::bigint END,
    coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = ANY (%s) AND c.relkind IN ('r', 'p')
"""


class ReapplyPreview(NamedTuple):
    """The expected effect on a column and its discards."""

    type: str
    """The type in the server's spelling."""
    becomes: str
    """The type after widening; empty when it stays."""
    rows: int | None
    """Estimated rows of the tables to rewrite; None until Postgres has statistics."""
    size_bytes: int
    values: int
    tried: int
    fitting: int
    """Number of tried values that fit."""

    @property
    def is_useful(self) -> bool:
        return bool(self.becomes or self.fitting or self.tried < self.values)


def reapply_preview(conn: Conn, schema: str, table: str, column: str) -> ReapplyPreview | None:
    """The effect on a column; None when there is no such column."""
    tables = Namespace(conn, schema)
    tables.read_tables([table, DISCARDS])
    kind = tables.columns(table).get(column) if tables.has_table(table) else None
    if kind is None:
        return None
    afterwards = "float" if is_whole(kind) else kind
    values, tried, fitting = 0, 0, 0
    if tables.has_table(DISCARDS):
        values, tried, fitting = _discard_counts(conn, schema, table, column, afterwards)
    names = ["identifies", "users"] if table in ("identifies", "users") else [table]
    sizes = conn.execute(_SIZE, [schema, column, table, schema, names]).fetchall()
    type_name, rows, size = sizes[0]
    becomes = "numeric" if is_whole(kind) else ""
    return ReapplyPreview(type_name, becomes, rows, size, values, tried, fitting)


def _discard_counts(
    conn: Conn, schema: str, table: str, column: str, kind: str
) -> tuple[int, int, int]:
    """All discards of a column, those of them that were tried, and those that fit the type."""
    place = pgsql.Identifier(schema, DISCARDS)
    count = conn.execute(SQL(_COUNT).format(place), [table, column]).fetchall()[0][0]
    sample = conn.execute(SQL(_SAMPLE).format(place), [table, column, MOST_TRIED]).fetchall()
    if not takes_values(kind):
        return int(count), len(sample), 0
    fitting = sum(stored_text(value, reason, kind) is not None for value, reason in sample)
    return int(count), len(sample), fitting
