"""Writes discarded values of a column that fit it now, and widens whole-number columns."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.interface import DestinationError
from destinations.postgres.connection import Conn
from destinations.postgres.identity.query import columns
from destinations.postgres.load.table_sql import TYPES
from destinations.postgres.load.tables import Namespace
from destinations.postgres.load.users import refill_users
from destinations.warehouse.rows.discarded_values import stored_text
from destinations.warehouse.rows.narrow_types import is_narrow, is_whole
from destinations.warehouse.rows.schema import DISCARDS

PAGE = 10_000

COUNT_DISCARDS = """
SELECT table_name, column_name, count(*), mode() WITHIN GROUP (ORDER BY reason)
FROM {}
GROUP BY table_name, column_name
ORDER BY table_name, column_name
"""

DISCARDS_AFTER = """
SELECT row_id, column_value, reason, received_at
FROM {}
WHERE table_name = %s AND column_name = %s AND row_id > %s
ORDER BY row_id
LIMIT %s
FOR UPDATE
"""

SET_VALUES = """
UPDATE {target} AS stored
SET {column} = discarded.value::{type}
FROM unnest(%s::text[], %s::text[], %s::timestamptz[])
    AS discarded (id, value, received_at)
WHERE stored.id = discarded.id
    AND stored.received_at = discarded.received_at
    AND stored.{column} IS NULL
RETURNING stored.id, stored.{returned}
"""

DELETE_DISCARDS = """
DELETE FROM {}
WHERE table_name = %s AND column_name = %s AND row_id = ANY (%s)
"""


class DiscardedColumn(NamedTuple):
    """A column with its number of discards and the most frequent reason."""

    table: str
    column: str
    discards: int
    reason: str


class ReapplyResult(NamedTuple):
    applied: int
    left: int
    """Values that still do not fit, or that belong to a row replaced since."""


def discarded_columns(conn: Conn, namespace: str) -> list[DiscardedColumn]:
    rows = conn.execute(SQL(COUNT_DISCARDS).format(pgsql.Identifier(namespace, DISCARDS)))
    return [DiscardedColumn(*row) for row in rows]


def widen_column(conn: Conn, namespace: str, identity_schema: str, table: str, column: str) -> None:
    """Turn a whole-number column into numeric; Postgres rewrites the table, whatever its size."""
    names = ("identifies", "users") if table in ("identifies", "users") else (table,)
    tables = Namespace(conn, namespace, identity_schema, widen_rows=sys.maxsize - 1)
    tables.read_tables(names)
    whole = [
        n for n in names if tables.has_table(n) and is_whole(tables.columns(n).get(column, ""))
    ]
    if not whole:
        raise DestinationError(f"{namespace}.{table} has no whole-number column {column}")
    for name in whole:
        tables.ensure_columns(name, {column: "float"})
        if is_whole(tables.columns(name)[column]):
            raise DestinationError(f"a view of yours uses {column} of {namespace}.{name}")


def reapply_discards(
    conn: Conn,
    namespace: str,
    table: str,
    column: str,
    report_progress: Callable[[int], None] = lambda _examined: None,
) -> ReapplyResult:
    """Write the discarded values of a column that fit it now into their rows. Repeatable.

    `report_progress` gets the number of examined values after each page. Users follow from
    identifies, so either table stands for both.
    """
    table = "identifies" if table == "users" else table
    tables = Namespace(conn, namespace)
    tables.read_tables([table, DISCARDS, "users"])
    if not tables.has_table(DISCARDS) or not tables.has_table(table):
        raise DestinationError(f"there is no table {namespace}.{table} with discards")
    kind = tables.columns(table).get(column)
    if kind is None or not takes_values(kind):
        raise DestinationError(f"{namespace}.{table} has no column {column} that events can fill")
    return _ColumnDiscards(conn, tables, table, column, kind).reapply(report_progress)


def takes_values(kind: str) -> bool:
    """Whether events can fill a column of this type."""
    return kind in TYPES or is_narrow(kind)


class _ColumnDiscards:
    def __init__(self, conn: Conn, tables: Namespace, table: str, column: str, kind: str) -> None:
        self._conn = conn
        self._tables = tables
        self._discards = pgsql.Identifier(tables.schema, DISCARDS)
        self._table = table
        self._column = column
        self._kind = kind

    def reapply(self, report_progress: Callable[[int], None]) -> ReapplyResult:
        """Reapply pages in the order of the rows' ids, each in a transaction."""
        applied, examined, last = 0, 0, ""
        while True:
            with self._conn.transaction():
                page = self._conn.execute(
                    SQL(DISCARDS_AFTER).format(self._discards),
                    [self._table, self._column, last, PAGE],
                ).fetchall()
                applied += self._apply_page(page)
            examined += len(page)
            report_progress(examined)
            if len(page) < PAGE:
                return ReapplyResult(applied, examined - applied)
            last = page[-1][0]

    def _apply_page(self, page: Sequence[tuple[Any, ...]]) -> int:
        fitting = [
            (row_id, text, received_at)
            for row_id, value, reason, received_at in page
            if (text := stored_text(value, reason, self._kind)) is not None
        ]
        if not fitting:
            return 0
        set_values = SQL(SET_VALUES).format(
            target=pgsql.Identifier(self._tables.schema, self._table),
            column=pgsql.Identifier(self._column),
            type=TYPES.get(self._kind) or SQL(self._kind),
            returned=pgsql.Identifier("user_id" if self._table == "identifies" else "id"),
        )
        rows = self._conn.execute(set_values, columns(fitting)).fetchall()
        self._delete_discards(self._table, [row_id for row_id, _ in rows])
        if self._table == "identifies" and self._tables.has_table("users"):
            users = sorted({user for _, user in rows if user is not None})
            refill_users(self._conn, self._tables, users)
            self._delete_discards("users", users)
        return len(rows)

    def _delete_discards(self, table: str, ids: Sequence[str]) -> None:
        self._conn.execute(
            SQL(DELETE_DISCARDS).format(self._discards), [table, self._column, list(ids)]
        )
