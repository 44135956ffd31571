"""Temporary tables with values that several statements use, so that they are sent once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.postgres.connection import Conn


def create_temp_table(conn: Conn, name: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
    """Create a table with statistics for the planner, until the transaction ends."""
    table = pgsql.Identifier(name)
    conn.execute(SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(table, SQL(columns)))
    with conn.cursor().copy(SQL("COPY {} FROM STDIN").format(table)) as copy:
        for row in rows:
            copy.write_row(row)
    conn.execute(SQL("ANALYZE {}").format(table))


def drop_temp_table(conn: Conn, name: str) -> None:
    conn.execute(SQL("DROP TABLE {}").format(pgsql.Identifier(name)))
