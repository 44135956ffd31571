"""Retention: which days of the log are dropped, and how; a whole partition at a time.

A day goes when it is too old, or when the log is too big. It stays while an enabled connection
or a replay still has to read an event of it, unless it is older than the hard limit. Whatever is
dropped unread is recorded as a Loss.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql as pgsql
from psycopg.sql import SQL, Literal

from destinations.models import Connection
from events.models import Loss, Replay, ReplayState

logger = logging.getLogger(__name__)

RETENTION_LOCK = 0x72756464_00000003
AFTER_MIDNIGHT = timedelta(hours=1)
"""A request may commit a little after the day in which it came; clocks differ a little, too."""

_HALF_DETACHED = """
SELECT c.relname
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'events_event'::regclass AND i.inhdetachpending
"""

_DETACHED = """
SELECT c.relname
FROM pg_class c
WHERE c.relname ~ '^events_event_[0-9]{8}$'
    AND c.relnamespace = (
        SELECT relnamespace FROM pg_class WHERE oid = 'events_event'::regclass
    )
    AND obj_description(c.oid, 'pg_class') = %s
    AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
"""


@dataclass(frozen=True)
class Limits:
    """How much of the log is kept; 0 bytes or hard days are no limit."""

    days: int
    max_bytes: int = 0
    hard_days: int = 0
    drop_seconds: int = 10
    """How long a statement may wait for the locks of others; loads wait for this worker."""

    @classmethod
    def from_settings(cls) -> Limits:
        return cls(
            settings.RETENTION_DAYS,
            int(settings.RETENTION_GB * 10**9),
            settings.RETENTION_HARD_DAYS,
        )


@dataclass(frozen=True)
class Partition:
    table: str
    day: date
    size_bytes: int

    @property
    def end(self) -> datetime:
        return datetime.combine(self.day + timedelta(days=1), time(), UTC)


@dataclass(frozen=True)
class Reader:
    """Who still has to read events with after < id <= upto; a paused one holds nothing."""

    connection: Connection
    after: int
    upto: int
    name: str
    holds: bool
    loses: bool = True
    """A replay loads again what was loaded: what it misses is no loss."""


def drop_due_days(conn: psycopg.Connection[Any], limits: Limits, now: datetime) -> list[date]:
    """Drop the days that are due; returns them. Of several callers at once only one does it."""
    taken = conn.execute("SELECT pg_try_advisory_lock(%s)", [RETENTION_LOCK]).fetchone()
    if not taken or not taken[0]:
        return []
    try:
        return list(_dropped(conn, limits, now))
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", [RETENTION_LOCK])


def _dropped(conn: psycopg.Connection[Any], limits: Limits, now: datetime) -> Iterator[date]:
    """Up to the first day that somebody reads for too long, such as a backup."""
    try:
        with _impatient(conn, limits.drop_seconds):
            _finish_earlier(conn)
        kept = partitions(conn)
        for each in _due(kept, limits, now):
            if _may_go(conn, each, limits, now):
                with _impatient(conn, limits.drop_seconds):
                    _drop(conn, each)
                yield each.day
        _warn_of_size(partitions(conn), limits)
    except psycopg.errors.QueryCanceled:
        logger.warning("a day of the log is in use and could not be dropped: the next run will")


@contextmanager
def _impatient(conn: psycopg.Connection[Any], seconds: int) -> Iterator[None]:
    """A statement that waits for others' locks ends before loads have to wait for this worker."""
    conn.execute(SQL("SET statement_timeout = {}").format(Literal(seconds * 1000)))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("RESET statement_timeout")


def partitions(conn: psycopg.Connection[Any]) -> list[Partition]:
    """Of the log, oldest first; one that is half detached is no part of it any more."""
    rows = conn.execute(
        """
        SELECT c.relname, pg_total_relation_size(c.oid)
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'events_event'::regclass AND c.relname ~ '^events_event_[0-9]{8}$'
            AND NOT i.inhdetachpending
        ORDER BY c.relname
        """
    )
    return [Partition(name, _day(name), size) for name, size in rows]


def _day(table: str) -> date:
    return datetime.strptime(table[-8:], "%Y%m%d").replace(tzinfo=UTC).date()


def _due(kept: Sequence[Partition], limits: Limits, now: datetime) -> Iterator[Partition]:
    """Too old, or the oldest of a log that is too big; never a day that may still grow."""
    size = sum(each.size_bytes for each in kept)
    for each in kept:
        if each.end > now - AFTER_MIDNIGHT:
            return
        too_old = each.end <= now - timedelta(days=limits.days)
        if too_old or (limits.max_bytes and size > limits.max_bytes):
            size -= each.size_bytes
            yield each


def _may_go(
    conn: psycopg.Connection[Any], partition: Partition, limits: Limits, now: datetime
) -> bool:
    behind = [reader for reader in _readers() if _is_behind(conn, partition, reader)]
    hard = bool(limits.hard_days) and partition.end <= now - timedelta(days=limits.hard_days)
    holders = [reader.name for reader in behind if reader.holds]
    if holders and not hard:
        logger.warning("log day %s stays: not loaded yet by %s", partition.day, ", ".join(holders))
        return False
    for reader in behind:
        _record(conn, partition, reader)
    return True


def _readers() -> Iterator[Reader]:
    known = Connection.objects.select_related("source", "destination").order_by("pk")
    for each in known:
        after = max(each.position, each.start_position or 0)
        yield Reader(each, after, _NO_END, f"connection {each.pk}", each.enabled)
    running = Replay.objects.filter(
        state=ReplayState.RUNNING, connection__enabled=True, only_dead_letters=False
    )
    for replay in running.select_related("connection__source", "connection__destination"):
        name = f"replay {replay.pk}"
        span = (replay.position, replay.upto_id)
        yield Reader(replay.connection, *span, name, holds=True, loses=False)


_NO_END = 2**63 - 1


def _is_behind(conn: psycopg.Connection[Any], partition: Partition, reader: Reader) -> bool:
    query = "SELECT EXISTS (SELECT FROM {} WHERE id > %s AND id <= %s AND source_id = %s)"
    row = conn.execute(
        SQL(query).format(pgsql.Identifier(partition.table)),
        [reader.after, reader.upto, reader.connection.source_id],
    ).fetchone()
    return bool(row and row[0])


def _record(conn: psycopg.Connection[Any], partition: Partition, reader: Reader) -> None:
    """Before the day goes; once, however often the drop has to be tried."""
    query = (
        "SELECT count(*), min(id), max(id) FROM {} WHERE id > %s AND id <= %s AND source_id = %s"
    )
    row = conn.execute(
        SQL(query).format(pgsql.Identifier(partition.table)),
        [reader.after, reader.upto, reader.connection.source_id],
    ).fetchone()
    events, first_id, last_id = row or (0, 0, 0)
    reason = _HARD_LIMIT if reader.holds else _PAUSED
    span = {"events": events, "first_id": first_id, "last_id": last_id}
    if reader.loses:
        Loss.objects.update_or_create(
            connection=reader.connection, day=partition.day, defaults={**span, "reason": reason}
        )
    logger.error(
        "log day %s is dropped before %s has loaded %d events of it, ids %d to %d: %s",
        *(partition.day, reader.name, events, first_id, last_id, reason),
    )


_HARD_LIMIT = "The day was older than RUDDERHUB_RETENTION_HARD_DAYS."
_PAUSED = "The connection was paused. The log is kept only for enabled connections."


def _drop(conn: psycopg.Connection[Any], partition: Partition) -> None:
    """CONCURRENTLY takes no lock that a writer, or a reader of another day, would wait for.

    It waits for whoever uses the log now. Cut short, it is finished by a later run.
    """
    table = pgsql.Identifier(partition.table)
    conn.execute(SQL("COMMENT ON TABLE {} IS {}").format(table, Literal(_MARK)))
    conn.execute(SQL("ALTER TABLE events_event DETACH PARTITION {} CONCURRENTLY").format(table))
    conn.execute(SQL("DROP TABLE {}").format(table))
    logger.info("log day %s dropped bytes=%d", partition.day, partition.size_bytes)


_MARK = "rudderhub: this day of the log is being dropped"


def _finish_earlier(conn: psycopg.Connection[Any]) -> None:
    """What a killed run left: a day half detached, or detached and still there.

    A day that somebody detached by hand does not have our mark and is left alone.
    """
    for (table,) in conn.execute(_HALF_DETACHED).fetchall():
        conn.execute(
            SQL("ALTER TABLE events_event DETACH PARTITION {} FINALIZE").format(
                pgsql.Identifier(table)
            )
        )
    for (table,) in conn.execute(_DETACHED, [_MARK]).fetchall():
        conn.execute(SQL("DROP TABLE {}").format(pgsql.Identifier(table)))


def _warn_of_size(kept: Sequence[Partition], limits: Limits) -> None:
    size = sum(each.size_bytes for each in kept)
    if limits.max_bytes and size > limits.max_bytes:
        logger.warning(
            "the log has %d bytes, more than RUDDERHUB_RETENTION_GB allows: %d days are kept "
            "for today or for connections that are behind",
            *(size, len(kept)),
        )
