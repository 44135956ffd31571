"""Discards of a column once more, after the column was made to hold them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from destinations.interface import DestinationError
from destinations.postgres.connection import Conn
from destinations.postgres.load import sql
from destinations.postgres.load.tables import Namespace
from destinations.postgres.load.users import refill_users
from destinations.warehouse.rows.discarded_values import stored_text
from destinations.warehouse.rows.narrow_types import is_narrow, is_whole
from destinations.warehouse.rows.schema import DISCARDS

PAGE = 10_000


class DiscardedColumn(NamedTuple):
    """A column with discards: how many, and the reason that most of them have."""

    table: str
    column: str
    discards: int
    reason: str


class ReapplyResult(NamedTuple):
    applied: int
    left: int
    """Values that still do not fit, or whose row has been replaced since."""


def discarded_columns(conn: Conn, namespace: str) -> list[DiscardedColumn]:
    found = conn.execute(sql.count_discards(namespace)).fetchall()
    return [DiscardedColumn(*row) for row in found]


def widen_column(conn: Conn, namespace: str, identity_schema: str, table: str, column: str) -> None:
    """Make a whole-number column numeric, however large its table: it is written anew."""
    names = ("identifies", "users") if table in ("identifies", "users") else (table,)
    tables = Namespace(conn, namespace, identity_schema, widen_rows=sys.maxsize - 1)
    tables.read(names)
    whole = [n for n in names if tables.has(n) and is_whole(tables.columns(n).get(column, ""))]
    if not whole:
        raise DestinationError(f"{namespace}.{table} has no whole-number column {column}")
    for name in whole:
        tables.grow(name, {column: "float"})
        if is_whole(tables.columns(name)[column]):
            raise DestinationError(f"a view of yours uses {column} of {namespace}.{name}")


def reapply_discards(
    conn: Conn,
    namespace: str,
    table: str,
    column: str,
    tell: Callable[[int], None] = lambda _seen: None,
) -> ReapplyResult:
    """Write the discarded values of a column that fit it now into their rows.

    `tell` hears after each page how many values were looked at.
    Users are made of identifies: for either table both are done. May be run again at any time.
    """
    table = "identifies" if table == "users" else table
    tables = Namespace(conn, namespace)
    tables.read([table, DISCARDS, "users"])
    if not tables.has(DISCARDS) or not tables.has(table):
        raise DestinationError(f"there is no table {namespace}.{table} with discards")
    kind = tables.columns(table).get(column)
    if kind is None or not takes_values(kind):
        raise DestinationError(f"{namespace}.{table} has no column {column} that events can fill")
    return _ColumnDiscards(conn, namespace, tables, table, column, kind).reapply(tell)


def takes_values(kind: str) -> bool:
    """Whether events can fill a column of this type."""
    return kind in sql.TYPES or is_narrow(kind)


class _ColumnDiscards:
    def __init__(
        self, conn: Conn, schema: str, tables: Namespace, table: str, column: str, kind: str
    ) -> None:
        self._conn = conn
        self._schema = schema
        self._tables = tables
        self._table = table
        self._column = column
        self._kind = kind

    def reapply(self, tell: Callable[[int], None]) -> ReapplyResult:
        """By pages in the order of the rows' ids, each in a transaction."""
        applied, seen, last = 0, 0, ""
        while True:
            with self._conn.transaction():
                page = self._conn.execute(
                    sql.discards_after(self._schema), [self._table, self._column, last, PAGE]
                ).fetchall()
                applied += self._apply(page)
            seen += len(page)
            tell(seen)
            if len(page) < PAGE:
                return ReapplyResult(applied, seen - applied)
            last = page[-1][0]

    def _apply(self, page: Sequence[tuple[Any, ...]]) -> int:
        fitting = [
            (row_id, text, received_at)
            for row_id, value, reason, received_at in page
            if (text := stored_text(value, reason, self._kind)) is not None
        ]
        if not fitting:
            return 0
        keep = "user_id" if self._table == "identifies" else "id"
        rows = self._conn.execute(
            sql.apply_discards(self._schema, self._table, self._column, self._kind, keep),
            [list(each) for each in zip(*fitting, strict=True)],
        ).fetchall()
        self._forget(self._table, [row_id for row_id, _ in rows])
        if self._table == "identifies" and self._tables.has("users"):
            users = sorted({user for _, user in rows if user is not None})
            refill_users(self._conn, self._schema, self._tables, users)
            self._forget("users", users)
        return len(rows)

    def _forget(self, table: str, ids: Sequence[str]) -> None:
        self._conn.execute(sql.forget_column(self._schema), [table, self._column, list(ids)])
