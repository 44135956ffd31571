"""Creates the log's partitions, one per day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql as pgsql
from psycopg.sql import SQL, Literal

PARTITION_LOCK = 0x72756464_00000002


def ensure_partitions(
    conn: psycopg.Connection[tuple[Any, ...]], first: date, days: int = 1
) -> None:
    """Create the log's partitions of these days; ATTACH does not block readers and writers."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
        for offset in range(days):
            _ensure_partition(conn, first + timedelta(days=offset))


def _ensure_partition(conn: psycopg.Connection[tuple[Any, ...]], day: date) -> None:
    name = f"events_event_{day:%Y%m%d}"
    row = conn.execute("SELECT to_regclass(%s)", [name]).fetchone()
    if row and row[0]:
        return
    table = pgsql.Identifier(name)
    conn.execute(SQL("CREATE TABLE {} (LIKE events_event INCLUDING DEFAULTS)").format(table))
    conn.execute(
        SQL("ALTER TABLE events_event ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            table,
            Literal(datetime(day.year, day.month, day.day, tzinfo=UTC)),
            Literal(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)),
        )
    )
