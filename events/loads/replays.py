"""Replays: load again what a connection has loaded before, beside its loads.

A replay ends where the connection's own cursor was when it began: what lies above is loaded
anyway. All writes of a destination can be repeated, so it changes only what has become different:
a transform, an option, a table that was dropped.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import psycopg
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet
from django.utils import timezone

from destinations.interface import (
    DestinationError,
    DestinationUnavailableError,
    LoadResult,
    PreparedChunk,
)
from destinations.models import NO_FAILURE, Connection
from events.loads import chunks, dead_letters
from events.loads import session as loads_session
from events.log import reader as event_reader
from events.log.database import log_connection, log_reader
from events.models import DeadLetter, Replay, ReplayState
from events.workers.errors import public_error_text
from events.workers.locks import Lock, try_lock

logger = logging.getLogger(__name__)

COUNT_SECONDS = 5
SLICE_SECONDS = 1.0
"""How long a worker replays before it lets loads have their turn."""


@dataclass(frozen=True)
class ReplayRange:
    """The events that a replay would load; events is None when counting took too long."""

    after: int
    upto: int
    events: int | None

    @property
    def most(self) -> int:
        return self.upto - self.after


def replay_range(connection: Connection, since: datetime | None) -> ReplayRange:
    """What a replay from a time on would load; None is from the oldest event kept.

    DestinationError when the first of them is not found in time.
    """
    upto = max(connection.position, connection.start_position or 0)
    with log_connection(options=f"-c statement_timeout={COUNT_SECONDS}s") as conn:
        try:
            first = event_reader.first_id(conn, since, upto)
        except psycopg.errors.QueryCanceled as error:
            text = f"no first event found within {COUNT_SECONDS} seconds; try the start of a day"
            raise DestinationError(text) from error
        after = upto if first is None else min(first - 1, upto)
        return ReplayRange(
            after,
            upto,
            event_reader.count_events(conn, connection.source_id, after, upto, COUNT_SECONDS),
        )


def begin_replay(connection: Connection, since: datetime | None) -> Replay:
    """A new replay, which a worker then runs; DestinationError when one is running."""
    found = replay_range(connection, since)
    with _alone(connection):
        replay = _create(connection, found, since=since)
    logger.info("replay begun replay=%s connection=%s", replay.pk, connection.pk)
    return replay


def begin_rerun(connection: Connection, letters: QuerySet[DeadLetter]) -> Replay:
    """A replay of open dead letters of the connection alone; DestinationError as for begin."""
    with _alone(connection):
        chosen = dead_letters.open_letters(connection, letters)
        ids = chosen.aggregate(first=Min("event_id"), last=Max("event_id"), events=Count("pk"))
        if not ids["events"]:
            raise DestinationError("none of the dead letters is still open")
        found = ReplayRange(ids["first"] - 1, ids["last"], ids["events"])
        replay = _create(connection, found, only_dead_letters=True)
        chosen.update(replay=replay)
    logger.info("re-run begun replay=%s connection=%s", replay.pk, connection.pk)
    return replay


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """While a replay of the connection is made: one of them runs at a time."""
    with transaction.atomic():
        Connection.objects.select_for_update().get(pk=connection.pk)
        running = Replay.objects.filter(connection=connection, state=ReplayState.RUNNING).first()
        if running:
            raise DestinationError(f"{running} is running; wait until it ends, or cancel it")
        yield


def _create(connection: Connection, found: ReplayRange, **fields: Any) -> Replay:
    return Replay.objects.create(
        connection=connection,
        after_id=found.after,
        upto_id=found.upto,
        position=found.after,
        expected=found.events,
        **fields,
    )


def cancel_replay(replay: Replay) -> bool:
    """Whether it was running; what it has loaded stays."""
    return bool(
        Replay.objects.filter(pk=replay.pk, state=ReplayState.RUNNING).update(
            state=ReplayState.CANCELLED, finished_at=timezone.now()
        )
    )


def run_slice(replay: Replay) -> bool:
    """Load some chunks; whether the replay is to go on at once."""
    with log_reader() as reader, try_lock(reader, Lock.REPLAY, replay.pk) as taken:
        if not taken:
            return False
        replay.refresh_from_db()
        if not _may_run(replay):
            return False
        try:
            _load(reader, replay)
        except (DestinationUnavailableError, DestinationError) as error:
            _fail(replay, error)
            return False
        except Exception as error:
            logger.exception("replay broke replay=%s", replay.pk)
            _fail(replay, error)
            return False
        return not _finished(replay)


def _may_run(replay: Replay) -> bool:
    """A replay of a paused connection is paused, too; after a failure it waits."""
    connection = replay.connection
    return (
        replay.state == ReplayState.RUNNING
        and connection.enabled
        and connection.destination.enabled
        and not replay.is_waiting(timezone.now())
    )


def _load(reader: psycopg.Connection[Any], replay: Replay) -> None:
    connection = replay.connection
    session = loads_session.open_session(connection, replay.cursor_id)
    try:
        position = session.position()
        replay.position = replay.after_id if position is None else position
        if replay.only_dead_letters:
            dead_letters.close_passed_letters(replay)
        if replay.position < replay.upto_id:
            chunks.load_range(
                session,
                _source_of(reader, replay),
                connection,
                replay.position,
                replay.upto_id,
                lambda prepared, result: _wrote(replay, prepared, result),
                first_events=settings.LOAD_CHUNK_EVENTS,
                began=replay.started_at,
                until=monotonic() + SLICE_SECONDS,
            )
    finally:
        session.close()


def _source_of(reader: psycopg.Connection[Any], replay: Replay) -> loads_session.ReadChunk:
    if replay.only_dead_letters:
        return dead_letters.chunk_reader(reader, replay)
    return chunks.chunk_reader(reader, replay.connection, replay.upto_id)


def _wrote(replay: Replay, prepared: PreparedChunk, result: LoadResult) -> None:
    replay.save_success(
        position=prepared.chunk.upto,
        events=replay.events + result.loaded,
        skipped=replay.skipped + result.skipped.total(),
        dead_letters=replay.dead_letters + len(prepared.dead_letters),
        discards=replay.discards + result.discards,
        skip_reasons=dict(Counter(replay.skip_reasons) + result.skipped),
        warnings=[*replay.warnings, *result.warnings],
    )


def _fail(replay: Replay, error: Exception) -> None:
    replay.save_failure(public_error_text(error))
    logger.warning("replay waits replay=%s until %s: %s", replay.pk, replay.retry_at, replay.error)


def _finished(replay: Replay) -> bool:
    """Marks the end, unless it was cancelled meanwhile."""
    if replay.position < replay.upto_id:
        return False
    ended = Replay.objects.filter(pk=replay.pk, state=ReplayState.RUNNING).update(
        state=ReplayState.SUCCEEDED,
        position=replay.position,
        finished_at=timezone.now(),
        **NO_FAILURE,
    )
    if ended:
        logger.info("replay ended replay=%s events=%d", replay.pk, replay.events)
    return True
