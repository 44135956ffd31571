"""Runs loads: loads the log through a connection until nothing is pending, and keeps a history."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import closing
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
    """Load up to an id or until the time is over; whether events are still pending.

    Returns False at once if another worker loads the connection, and after a failure.
    """
    until = monotonic() + seconds
    with log_reader() as reader:
        while _load_once(reader, connection, until, upto):
            # Tasks for events that arrived meanwhile ended at once, because the lock was held.
            if min(event_reader.barrier(reader), upto) <= connection.position:
                return False
            if monotonic() >= until:
                return True
    return False


def run_due_load(connection: Connection, seconds: float) -> bool:
    """As run_load, if a load is due by the destination's sync schedule."""
    try:
        schedule = Schedule.from_config(connection.destination.config)
    except DestinationError as error:
        LoadRun(connection).fail(error)
        return False
    if schedule.is_continuous:
        return run_load(connection, seconds)
    if not is_due(schedule, connection) or not _start_sync(connection):
        return False
    return run_load(connection, seconds, connection.sync_upto)


def is_due(schedule: Schedule, connection: Connection) -> bool:
    """Whether a sync is due; a sync that has started continues even if the schedule changes."""
    now = timezone.now()
    if connection.position < connection.sync_upto:
        return True
    return next_sync(schedule, connection.synced_at, now) <= now


def _start_sync(connection: Connection) -> bool:
    """Set the end of the sync; False if nothing is pending, so that the next event starts it."""
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
    with try_lock(reader, Lock.LOAD, connection.pk) as is_locked:
        if not is_locked:
            return False
        run = LoadRun(connection)
        try:
            run.load_pending(reader, until, upto)
        except (DestinationUnavailableError, DestinationError) as error:
            run.fail(error)
            return False
        except Exception as error:  # also a bug must be seen in the admin and wait for a retry
            logger.exception("load broke connection=%s", connection.pk)
            run.fail(error)
            return False
        run.succeed()
        return True


class LoadRun:
    """One load of a connection, and its record once there is one."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.load: Load | None = None

    def load_pending(self, reader: psycopg.Connection[Any], until: float, upto: float) -> None:
        end = int(min(event_reader.barrier(reader), upto))
        with closing(loads_session.open_session(self.connection, self.connection.pk)) as session:
            position = self._start_position(session)
            if position < end:
                load = self.load = self._create_load(position)
                chunks.load_range(
                    session,
                    chunks.chunk_reader(reader, self.connection, end),
                    self.connection,
                    position,
                    end,
                    lambda prepared, result: self._record_chunk(load, prepared, result),
                    first_events=FIRST_CHUNK_EVENTS,
                    began=load.started_at,
                    until=until,
                )
                ledger.record_standing(self.connection, session.counts(), position)

    def succeed(self) -> None:
        connection = self.connection
        if connection.failures or connection.error:
            connection.save_success()
            self._end_waiting_loads()
        self._finish(LoadState.SUCCEEDED, "")

    def fail(self, error: Exception) -> None:
        is_waiting = isinstance(error, DestinationUnavailableError)
        connection = self.connection
        connection.save_failure(public_error_text(error))
        logger.warning(
            "load failed connection=%s next retry %s: %s",
            connection.pk,
            connection.retry_at,
            connection.error,
        )
        self.load = self.load or self._failed_load(connection.error)
        self._finish(LoadState.WAITING if is_waiting else LoadState.FAILED, connection.error)

    def _start_position(self, session: Session) -> int:
        """The cursor that the destination stores, else the start of the connection."""
        counts = session.counts()
        start = self.connection.start_position or 0
        position = start if counts is None else counts.position
        ledger.record_standing(self.connection, counts, start)
        self._save_position(position)
        return position

    def _create_load(self, position: int) -> Load:
        """Create the record, and mark running records of killed workers as failed."""
        Load.objects.filter(connection=self.connection, state=LoadState.RUNNING).update(
            state=LoadState.FAILED, error=INTERRUPTED, finished_at=timezone.now()
        )
        if self.connection.failures:
            self._end_waiting_loads()
        return Load.objects.create(connection=self.connection, after_id=position, upto_id=position)

    def _failed_load(self, error: str) -> Load:
        """The record of a run that failed at its start; repeated failures share one record."""
        position = self.connection.position
        newest = Load.objects.filter(connection=self.connection).order_by("-id").first()
        if newest and newest.error == error and newest.after_id == newest.upto_id == position:
            return newest
        self._end_waiting_loads()
        return Load.objects.create(connection=self.connection, after_id=position, upto_id=position)

    def _end_waiting_loads(self) -> None:
        """Mark loads that waited for a retry as failed, because this run is the retry."""
        Load.objects.filter(connection=self.connection, state=LoadState.WAITING).update(
            state=LoadState.FAILED
        )

    def _record_chunk(self, load: Load, prepared: PreparedChunk, result: LoadResult) -> None:
        for name, value in load.counts_with(prepared, result).items():
            setattr(load, name, value)
        load.rows = _sum_counts(load.rows, result.rows)
        load.repeated = _sum_counts(load.repeated, result.repeated)
        load.discarded = _sum_counts(load.discarded, result.discarded)
        load.added = _merged_columns(load.added, result.added)
        load.upto_id = prepared.chunk.upto
        load.save()
        self._save_position(prepared.chunk.upto)
        logger.info(
            "loaded connection=%s events=%d rows=%d discards=%d dead_letters=%d",
            self.connection.pk,
            result.loaded,
            sum(result.rows.values()),
            result.discards,
            len(prepared.dead_letters),
        )

    def _save_position(self, position: int) -> None:
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


def _sum_counts(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    return {name: counts.get(name, 0) + more.get(name, 0) for name in {**counts, **more}}


def _merged_columns(
    added: Mapping[str, Sequence[str]], more: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """The new columns of both by table; a new table keeps its empty list."""
    merged = {table: list(columns) for table, columns in added.items()}
    for table, columns in more.items():
        if merged.get(table) != []:
            merged[table] = [*merged.get(table, ()), *columns]
    return merged
