"""Retention drops old days of the log, a whole partition at a time.

A day is dropped when it is too old or the log is too big. It stays while an enabled connection or
a replay still has to read events of it, unless it is older than the hard limit. Events that are
dropped before a connection has read them are recorded as a Loss.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from psycopg import sql as pgsql
from psycopg.sql import SQL, Literal

from destinations.models import Connection
from events.log.partitions import Partition, log_partitions
from events.models import Loss, Replay, ReplayState
from events.workers.locks import try_lock

logger = logging.getLogger(__name__)

RETENTION_LOCK = 0x72756464_00000003
AFTER_MIDNIGHT = timedelta(hours=1)
"""A request may commit a little after the end of its day, and clocks differ."""

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
    """The days and bytes of the log that are kept; 0 bytes or hard days mean no limit."""

    days: int
    max_bytes: int = 0
    hard_days: int = 0
    drop_seconds: int = 10
    """How long a statement may wait for locks; meanwhile loads wait for this worker."""

    @classmethod
    def from_settings(cls) -> Limits:
        return cls(
            settings.RETENTION_DAYS,
            int(settings.RETENTION_GB * 10**9),
            settings.RETENTION_HARD_DAYS,
        )


@dataclass(frozen=True)
class Reader:
    """A connection or replay that still has to read events with after < id <= upto."""

    connection: Connection
    after: int
    upto: int
    name: str
    holds: bool
    """Whether days stay for it; False for a paused connection."""
    loses: bool = True
    """False for a replay, because the events that it misses are loaded already."""


def drop_due_days(conn: psycopg.Connection[Any], limits: Limits, now: datetime) -> list[date]:
    """Drop the days that are due and return them; does nothing while another session drops days."""
    dropped: list[date] = []
    with try_lock(conn, RETENTION_LOCK) as is_locked:
        if not is_locked:
            return dropped
        try:
            with _statement_timeout(conn, limits.drop_seconds):
                _finish_interrupted_drops(conn)
            for partition in _due_partitions(log_partitions(conn), limits, now):
                if _may_drop(conn, partition, limits, now):
                    with _statement_timeout(conn, limits.drop_seconds):
                        _drop(conn, partition)
                    dropped.append(partition.day)
            _warn_of_size(log_partitions(conn), limits)
        except psycopg.errors.QueryCanceled:  # such as by a backup
            logger.warning("a day of the log is in use and could not be dropped: the next run will")
    return dropped


@contextmanager
def _statement_timeout(conn: psycopg.Connection[Any], seconds: int) -> Iterator[None]:
    """End statements that wait for locks, because loads wait for this worker."""
    conn.execute(SQL("SET statement_timeout = {}").format(Literal(seconds * 1000)))
    try:
        yield
    finally:
        if not conn.closed:
            conn.execute("RESET statement_timeout")


def _due_partitions(
    partitions: Sequence[Partition], limits: Limits, now: datetime
) -> Iterator[Partition]:
    """Complete partitions that are too old, or the oldest ones if the log is too big."""
    size = sum(partition.size_bytes for partition in partitions)
    for partition in partitions:
        if partition.end > now - AFTER_MIDNIGHT:
            return
        is_too_old = partition.end <= now - timedelta(days=limits.days)
        if is_too_old or (limits.max_bytes and size > limits.max_bytes):
            size -= partition.size_bytes
            yield partition


def _may_drop(
    conn: psycopg.Connection[Any], partition: Partition, limits: Limits, now: datetime
) -> bool:
    """Whether no reader needs the partition, or it is past the hard limit; records its losses."""
    behind = [reader for reader in _readers() if _is_behind(conn, partition, reader)]
    is_past_limit = bool(limits.hard_days) and partition.end <= now - timedelta(
        days=limits.hard_days
    )
    holders = [reader.name for reader in behind if reader.holds]
    if holders and not is_past_limit:
        logger.warning("log day %s stays: not loaded yet by %s", partition.day, ", ".join(holders))
        return False
    for reader in behind:
        _record_loss(conn, partition, reader)
    return True


def _readers() -> Iterator[Reader]:
    for connection in Connection.objects.select_related("source", "destination").order_by("pk"):
        after = max(connection.position, connection.start_position or 0)
        name = f"connection {connection.pk}"
        yield Reader(connection, after, _NO_END, name, connection.enabled)
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


def _record_loss(conn: psycopg.Connection[Any], partition: Partition, reader: Reader) -> None:
    """Record the unread events before the day is dropped; it may run again for a retry."""
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
    """Detach and drop; CONCURRENTLY blocks no writers, and no readers of other days.

    It waits for all that use the log now. A later run finishes an interrupted drop.
    """
    table = pgsql.Identifier(partition.table)
    conn.execute(SQL("COMMENT ON TABLE {} IS {}").format(table, Literal(_MARK)))
    conn.execute(SQL("ALTER TABLE events_event DETACH PARTITION {} CONCURRENTLY").format(table))
    conn.execute(SQL("DROP TABLE {}").format(table))
    logger.info("log day %s dropped bytes=%d", partition.day, partition.size_bytes)


_MARK = "rudderhub: this day of the log is being dropped"


def _finish_interrupted_drops(conn: psycopg.Connection[Any]) -> None:
    """Drop the days that a killed run has detached; days detached by hand lack our mark."""
    for (table,) in conn.execute(_HALF_DETACHED).fetchall():
        conn.execute(
            SQL("ALTER TABLE events_event DETACH PARTITION {} FINALIZE").format(
                pgsql.Identifier(table)
            )
        )
    for (table,) in conn.execute(_DETACHED, [_MARK]).fetchall():
        conn.execute(SQL("DROP TABLE {}").format(pgsql.Identifier(table)))


def _warn_of_size(partitions: Sequence[Partition], limits: Limits) -> None:
    size = sum(partition.size_bytes for partition in partitions)
    if limits.max_bytes and size > limits.max_bytes:
        logger.warning(
            "the log has %d bytes, more than RUDDERHUB_RETENTION_GB allows: %d days are kept "
            "for today or for connections that are behind",
            *(size, len(partitions)),
        )
