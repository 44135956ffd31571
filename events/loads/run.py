"""run_load: move the log through a connection until nothing is pending, and keep the history."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

import psycopg
from django.utils import timezone

from destinations.interface import (
    DestinationError,
    DestinationUnavailableError,
    LoadResult,
    PreparedChunk,
    Session,
)
from destinations.models import Connection
from destinations.schedule import Schedule, next_sync
from events.loads import chunks, ledger
from events.loads import session as loads_session
from events.log import reader as event_reader
from events.log.database import log_connection, log_reader
from events.models import Load, LoadState
from events.workers.errors import public_error_text
from events.workers.locks import Lock, try_lock

logger = logging.getLogger(__name__)

FIRST_CHUNK_EVENTS = 1_000
INTERRUPTED = "The worker ended before the load did. The next load continued from its last chunk."


def run_load(connection: Connection, seconds: float = math.inf, upto: float = math.inf) -> bool:
    """Load until nothing is pending up to an id, or the seconds are over; whether some still is.

    Returns at once when another worker has the connection, and after a failure.
    """
    until = monotonic() + seconds
    with log_reader() as reader:
        while _load_once(reader, connection, until, upto):
            # An event may have come while the lock was held: its ring found the connection taken.
            if min(event_reader.barrier(reader), upto) <= connection.position:
                return False
            if monotonic() >= until:
                return True
    return False


def run_due_load(connection: Connection, seconds: float) -> bool:
    """As run_load, if the destination's sync schedule lets it; else nothing is pending yet."""
    try:
        schedule = Schedule.from_config(connection.destination.config)
    except DestinationError as error:
        LoadRun(connection).fail(LoadState.FAILED, error)
        return False
    if schedule.is_continuous:
        return run_load(connection, seconds)
    if not is_due(schedule, connection) or not _sync_upto(connection):
        return False
    return run_load(connection, seconds, connection.sync_upto)


def is_due(schedule: Schedule, connection: Connection) -> bool:
    """A sync that is under way goes on, whatever its schedule says by then."""
    now = timezone.now()
    if connection.position < connection.sync_upto:
        return True
    return next_sync(schedule, connection.synced_at, now) <= now


def _sync_upto(connection: Connection) -> bool:
    """Fix what the sync loads; False when that is nothing: then the next event begins it."""
    if connection.position < connection.sync_upto:
        return True
    with log_connection() as conn:
        barrier = event_reader.barrier(conn)
    if barrier <= connection.position:
        return False
    connection.synced_at, connection.sync_upto = timezone.now(), barrier
    connection.save(update_fields=["synced_at", "sync_upto"])
    return True


def _load_once(
    reader: psycopg.Connection[Any], connection: Connection, until: float, upto: float
) -> bool:
    """Whether the connection was free and nothing failed."""
    with try_lock(reader, Lock.LOAD, connection.pk) as taken:
        return taken and _attempt(reader, connection, until, upto)


def _attempt(
    reader: psycopg.Connection[Any], connection: Connection, until: float, upto: float
) -> bool:
    run = LoadRun(connection)
    try:
        run.drain(reader, until, upto)
    except DestinationUnavailableError as error:
        run.fail(LoadState.WAITING, error)
        return False
    except DestinationError as error:
        run.fail(LoadState.FAILED, error)
        return False
    except Exception as error:  # a fault of ours must be seen in the admin and back off, too
        logger.exception("load broke connection=%s", connection.pk)
        run.fail(LoadState.FAILED, error)
        return False
    run.succeed()
    return True


class LoadRun:
    """One load: its session with the destination, and its row of history once there is one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.load: Load | None = None

    def drain(self, reader: psycopg.Connection[Any], until: float, upto: float) -> None:
        end = int(min(event_reader.barrier(reader), upto))
        session = loads_session.open_session(self.connection, self.connection.pk)
        try:
            position = self._start(session)
            if position < end:
                began = self._begin(position)
                chunks.load_range(
                    session,
                    chunks.chunk_reader(reader, self.connection, end),
                    self.connection,
                    position,
                    end,
                    self._wrote,
                    first_events=FIRST_CHUNK_EVENTS,
                    began=began,
                    until=until,
                )
                ledger.record_standing(self.connection, session.counts(), position)
        finally:
            session.close()

    def succeed(self) -> None:
        connection = self.connection
        if connection.failures or connection.error:
            connection.save_success()
            self._end_waits()
        self._finish(LoadState.SUCCEEDED, "")

    def fail(self, state: LoadState, error: Exception) -> None:
        connection = self.connection
        connection.save_failure(public_error_text(error))
        logger.warning(
            "load failed connection=%s next try %s: %s",
            connection.pk,
            connection.retry_at,
            connection.error,
        )
        self.load = self.load or self._in_vain(connection.error)
        self._finish(state, connection.error)

    def _start(self, session: Session) -> int:
        """The cursor: the destination's, else where this connection is to begin."""
        counts = session.counts()
        start = self.connection.start_position or 0
        position = start if counts is None else counts.position
        ledger.record_standing(self.connection, counts, start)
        self._mirror(position)
        return position

    def _begin(self, position: int) -> datetime:
        """Under the connection's lock: whatever still is called running was killed."""
        Load.objects.filter(connection=self.connection, state=LoadState.RUNNING).update(
            state=LoadState.FAILED, error=INTERRUPTED, finished_at=timezone.now()
        )
        if self.connection.failures:
            self._end_waits()
        self.load = Load.objects.create(
            connection=self.connection, after_id=position, upto_id=position
        )
        return self.load.started_at

    def _in_vain(self, error: str) -> Load:
        """The row of a run that came to no work; such runs in a row with one error share it."""
        position = self.connection.position
        newest = Load.objects.filter(connection=self.connection).order_by("-id").first()
        if newest and newest.error == error and newest.after_id == newest.upto_id == position:
            return newest
        self._end_waits()
        return Load.objects.create(connection=self.connection, after_id=position, upto_id=position)

    def _end_waits(self) -> None:
        """A load that waited for its next try has had it."""
        Load.objects.filter(connection=self.connection, state=LoadState.WAITING).update(
            state=LoadState.FAILED
        )

    def _wrote(self, prepared: PreparedChunk, result: LoadResult) -> None:
        self._count(prepared, result)
        self._mirror(prepared.chunk.upto)
        logger.info(
            "loaded connection=%s events=%d rows=%d discards=%d dead_letters=%d",
            self.connection.pk,
            result.loaded,
            sum(result.rows.values()),
            result.discards,
            len(prepared.dead_letters),
        )

    def _count(self, prepared: PreparedChunk, result: LoadResult) -> None:
        load = self.load
        if load is None:
            return
        load.events += result.loaded
        load.skipped += result.skipped.total()
        load.dead_letters += len(prepared.dead_letters)
        load.discards += result.discards
        load.skip_reasons = dict(Counter(load.skip_reasons) + result.skipped)
        load.warnings += result.warnings
        load.rows = _sum(load.rows, result.rows)
        load.repeated = _sum(load.repeated, result.repeated)
        load.discarded = _sum(load.discarded, result.discarded)
        load.added = _joined(load.added, result.added)
        load.upto_id = prepared.chunk.upto
        load.save()

    def _mirror(self, position: int) -> None:
        if position != self.connection.position:
            self.connection.position = position
            self.connection.last_loaded_at = timezone.now()
            self.connection.save(update_fields=["position", "last_loaded_at"])

    def _finish(self, state: LoadState, error: str) -> None:
        if self.load is None:
            return
        self.load.state, self.load.error = state, error
        self.load.finished_at = timezone.now()
        self.load.save(update_fields=["state", "error", "finished_at"])


def _sum(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + more.get(name, 0) for name in {**counts, **more}}


def _joined(
    added: Mapping[str, Sequence[str]], more: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """A table that was new before stays so, whatever columns it gets."""
    joined = {table: list(columns) for table, columns in added.items()}
    for table, columns in more.items():
        if joined.get(table) != []:
            joined[table] = [*joined.get(table, ()), *columns]
    return joined
