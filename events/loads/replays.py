"""Replays load events of a connection again while its loads continue.

A replay ends where the connection's cursor was when it began, because loads write the events above
it. All writes of a destination can be repeated, so a replay changes only rows that differ now: a
transform or an option has changed, or a table was dropped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Any

import psycopg
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Min, QuerySet
from django.utils import timezone

from destinations.interface import DestinationError, DestinationUnavailableError
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
"""The time after which a worker lets loads run."""


@dataclass(frozen=True)
class ReplayRange:
    """The events that a replay would load; events is None when counting took too long."""

    after: int
    upto: int
    events: int | None

    @property
    def max_events(self) -> int:
        return self.upto - self.after


def replay_range(connection: Connection, since: datetime | None) -> ReplayRange:
    """The range since a time, or all events kept; DestinationError if the search is too slow."""
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
    """A new replay, which a worker then runs; DestinationError if another is running."""
    span = replay_range(connection, since)
    with _creation_lock(connection):
        replay = _create_replay(connection, span, since=since)
    logger.info("replay begun replay=%s connection=%s", replay.pk, connection.pk)
    return replay


def begin_rerun(connection: Connection, letters: QuerySet[DeadLetter]) -> Replay:
    """A new replay of the connection's open dead letters; DestinationError if one is running."""
    with _creation_lock(connection):
        chosen = dead_letters.open_letters(connection, letters)
        ids = chosen.aggregate(first=Min("event_id"), last=Max("event_id"), events=Count("pk"))
        if not ids["events"]:
            raise DestinationError("none of the dead letters is still open")
        span = ReplayRange(ids["first"] - 1, ids["last"], ids["events"])
        replay = _create_replay(connection, span, only_dead_letters=True)
        chosen.update(replay=replay)
    logger.info("re-run begun replay=%s connection=%s", replay.pk, connection.pk)
    return replay


@contextmanager
def _creation_lock(connection: Connection) -> Iterator[None]:
    """Lock the connection while its replay is created, since only one may run at a time."""
    with transaction.atomic():
        Connection.objects.select_for_update().get(pk=connection.pk)
        running = Replay.objects.filter(connection=connection, state=ReplayState.RUNNING).first()
        if running:
            raise DestinationError(f"{running} is running; wait until it ends, or cancel it")
        yield


def _create_replay(connection: Connection, span: ReplayRange, **fields: Any) -> Replay:
    return Replay.objects.create(
        connection=connection,
        after_id=span.after,
        upto_id=span.upto,
        position=span.after,
        expected=span.events,
        **fields,
    )


def cancel_replay(replay: Replay) -> bool:
    """Whether it was running; the events that it has loaded stay."""
    return bool(
        Replay.objects.filter(pk=replay.pk, state=ReplayState.RUNNING).update(
            state=ReplayState.CANCELLED, finished_at=timezone.now()
        )
    )


def runnable_replays() -> QuerySet[Replay]:
    """The running replays of enabled connections that do not wait after a failure."""
    return (
        Replay.objects.select_related("connection__source", "connection__destination")
        .filter(state=ReplayState.RUNNING)
        .filter(connection__enabled=True, connection__destination__enabled=True)
        .exclude(retry_at__gt=timezone.now())
    )


def run_slice(replay: Replay) -> bool:
    """Load some chunks; whether more are to be loaded at once."""
    with log_reader() as reader, try_lock(reader, Lock.REPLAY, replay.pk) as is_locked:
        if not is_locked or not runnable_replays().filter(pk=replay.pk).exists():
            return False
        replay.refresh_from_db()
        try:
            _load_slice(reader, replay)
        except (DestinationUnavailableError, DestinationError) as error:
            _record_failure(replay, error)
            return False
        except Exception as error:
            logger.exception("replay broke replay=%s", replay.pk)
            _record_failure(replay, error)
            return False
        return not _finish_if_complete(replay)


def _load_slice(reader: psycopg.Connection[Any], replay: Replay) -> None:
    connection = replay.connection
    with closing(loads_session.open_session(connection, replay.cursor_id)) as session:
        position = session.position()
        replay.position = replay.after_id if position is None else position
        if replay.only_dead_letters:
            dead_letters.close_passed_letters(replay)
            read = dead_letters.chunk_reader(reader, replay)
        else:
            read = chunks.chunk_reader(reader, connection, replay.upto_id)
        if replay.position < replay.upto_id:
            chunks.load_range(
                session,
                read,
                connection,
                replay.position,
                replay.upto_id,
                lambda prepared, result: replay.save_success(
                    position=prepared.chunk.upto, **replay.counts_with(prepared, result)
                ),
                first_events=settings.LOAD_CHUNK_EVENTS,
                began=replay.started_at,
                until=monotonic() + SLICE_SECONDS,
            )


def _record_failure(replay: Replay, error: Exception) -> None:
    replay.save_failure(public_error_text(error))
    logger.warning("replay waits replay=%s until %s: %s", replay.pk, replay.retry_at, replay.error)


def _finish_if_complete(replay: Replay) -> bool:
    """Whether all is loaded; then mark the replay as succeeded, unless it was cancelled."""
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
