"""The log's partitions, one per day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg
from psycopg import sql as pgsql
from psycopg.sql import SQL, Literal

PARTITION_LOCK = 0x72756464_00000002


@dataclass(frozen=True)
class Partition:
    table: str
    day: date
    size_bytes: int

    @property
    def end(self) -> datetime:
        return datetime.combine(self.day + timedelta(days=1), time(), UTC)


def ensure_partitions(conn: psycopg.Connection[Any], first: date, days: int = 1) -> None:
    """Create the log's partitions of these days; ATTACH does not block readers and writers."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
        for offset in range(days):
            _ensure_partition(conn, first + timedelta(days=offset))


def log_partitions(conn: psycopg.Connection[Any]) -> list[Partition]:
    """The partitions of the log, oldest first, without those that are half detached."""
    rows = conn.execute(
        """
        SELECT c.relname, pg_total_relation_size(c.oid)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'events_event'::regclass AND c.relname ~ '^events_event_[0-9]{8}$'
            AND NOT i.inhdetachpending
        ORDER BY c.relname
        """
    )
    return [Partition(name, date.fromisoformat(name[-8:]), size) for name, size in rows]


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
