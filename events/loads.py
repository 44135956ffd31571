"""run_load: move the log through a connection, chunk by chunk, exactly once.

The destination holds the cursor and moves it with the rows (design: the cursor in the
warehouse), so a load may be killed at any point and run again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.utils import timezone

from destinations.interface import (
    Chunk,
    ChunkRefusedError,
    DestinationError,
    DestinationUnavailableError,
    Feed,
    LoggedEvent,
    Prepared,
    Session,
)
from destinations.models import Connection
from destinations.registry import destination_type
from events import log
from events.models import DeadLetter, Load, LoadState

logger = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 300
FIRST_CHUNK_EVENTS = 1_000


def run_load(connection: Connection) -> None:
    """Load until nothing is pending; returns at once when another worker has the connection."""
    with log.reader() as reader:
        while _load_once(reader, connection) and log.barrier(reader) > connection.position:
            pass  # an event came while the lock was held: its ring found the connection taken


def _load_once(reader: psycopg.Connection[Any], connection: Connection) -> bool:
    """Whether the connection was free and is loaded up to the barrier."""
    with log.connection_lock(reader, connection.pk) as taken:
        return taken and _attempt(reader, connection)


def _attempt(reader: psycopg.Connection[Any], connection: Connection) -> bool:
    run = _Run(connection)
    try:
        run.drain(reader)
    except DestinationUnavailableError as error:
        run.fail(LoadState.WAITING, error)
        return False
    except DestinationError as error:
        run.fail(LoadState.FAILED, error)
        return False
    run.succeed()
    return True


class _Run:
    """One load: its session with the destination, and its row of history once it has work."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.load: Load | None = None

    def drain(self, reader: psycopg.Connection[Any]) -> None:
        barrier = log.barrier(reader)
        session = self._open()
        try:
            position = self._start(session)
            if position < barrier:
                self._begin(position)
                for prepared in _prepared(session, reader, self.connection, position, barrier):
                    self._commit(session, prepared)
        finally:
            session.close()

    def succeed(self) -> None:
        connection = self.connection
        if connection.failures or connection.last_error:
            connection.failures, connection.retry_at, connection.last_error = 0, None, ""
            connection.save(update_fields=["failures", "retry_at", "last_error"])
        self._finish(LoadState.SUCCEEDED, "")

    def fail(self, state: LoadState, error: Exception) -> None:
        connection = self.connection
        connection.failures += 1
        wait = min(LONGEST_WAIT_SECONDS, 2 ** min(connection.failures, 16))
        connection.retry_at = timezone.now() + timedelta(seconds=wait)
        connection.last_error = str(error)
        connection.save(update_fields=["failures", "retry_at", "last_error"])
        logger.warning("load failed connection=%s wait=%ds: %s", connection.pk, wait, error)
        self._finish(state, str(error))

    def _open(self) -> Session:
        kind = destination_type(self.connection.destination.type)
        destination = self.connection.destination
        if not self.connection.namespace:
            self.connection.namespace = kind.namespace(
                destination.config, self.connection.source.name
            )
            self.connection.save(update_fields=["namespace"])
        return kind.open(destination.config, destination.secrets, _feed(self.connection))

    def _start(self, session: Session) -> int:
        """The cursor: the destination's, else where this connection is to begin."""
        position = session.position()
        if position is None:
            position = self.connection.start_position or 0
        self._mirror(position)
        return position

    def _begin(self, position: int) -> None:
        self.load = Load.objects.create(
            connection=self.connection, after_id=position, upto_id=position
        )

    def _commit(self, session: Session, prepared: Prepared) -> None:
        """Write a chunk; when it is refused, halve it until the event is found."""
        try:
            self._write(session, prepared)
        except ChunkRefusedError as error:
            logger.warning("chunk refused connection=%s: %s", self.connection.pk, error)
            for part in _halves(prepared, str(error)):
                self._commit(session, part if isinstance(part, Prepared) else session.prepare(part))

    def _write(self, session: Session, prepared: Prepared) -> None:
        _keep_dead_letters(self.connection, prepared)
        result = session.load(prepared)
        self._count(prepared, dict(result.rows), result.discards)
        self._mirror(prepared.chunk.upto)
        logger.info(
            "loaded connection=%s events=%d rows=%d discards=%d dead_letters=%d",
            self.connection.pk,
            prepared.loaded,
            sum(result.rows.values()),
            result.discards,
            len(prepared.dead_letters),
        )

    def _count(self, prepared: Prepared, rows: dict[str, int], discards: int) -> None:
        load = self.load
        if load is None:
            return
        load.events += prepared.loaded
        load.skipped += prepared.skipped.total()
        load.dead_letters += len(prepared.dead_letters)
        load.discards += discards
        load.rows = {
            table: load.rows.get(table, 0) + rows.get(table, 0) for table in load.rows | rows
        }
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


def _feed(connection: Connection) -> Feed:
    return Feed(
        connection_id=connection.pk,
        namespace=connection.namespace,
        source_id=connection.source.public_id,
        source_type=connection.source.type,
        source_category=connection.source.category,
        destination_id=connection.destination.public_id,
        destination_type=connection.destination.type,
    )


def _prepared(
    session: Session,
    reader: psycopg.Connection[Any],
    connection: Connection,
    position: int,
    barrier: int,
) -> Iterator[Prepared]:
    """The chunks in order; the next is read and transformed while one is being written.

    They grow, so that the first is written soon and many are written well.
    """

    def next_chunk(after: int, size: int) -> Prepared:
        limits = (min(size, settings.LOAD_CHUNK_EVENTS), settings.LOAD_CHUNK_BYTES)
        return session.prepare(
            log.read_chunk(reader, connection.source_id, after, barrier, *limits)
        )

    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as ahead:
        size = FIRST_CHUNK_EVENTS
        coming: Future[Prepared] | None = ahead.submit(next_chunk, position, size)
        while coming is not None:
            prepared = coming.result()
            size *= 2
            more = prepared.chunk.upto < barrier
            coming = ahead.submit(next_chunk, prepared.chunk.upto, size) if more else None
            yield prepared


def _halves(prepared: Prepared, reason: str) -> Iterator[Chunk | Prepared]:
    """Two smaller chunks; of a single event, an empty chunk that dead-letters it."""
    chunk = prepared.chunk
    if len(chunk.events) > 1:
        middle = len(chunk.events) // 2
        cut = chunk.events[middle - 1].id
        yield Chunk(chunk.after, cut, chunk.events[:middle])
        yield Chunk(cut, chunk.upto, chunk.events[middle:])
    elif chunk.events:
        dead = [(chunk.events[0], reason)]
        yield Prepared(chunk, content=None, dead_letters=dead)
    else:
        raise DestinationError(f"an empty chunk was refused: {reason}")


def _keep_dead_letters(connection: Connection, prepared: Prepared) -> None:
    """Before the cursor passes them; again after a kill, to no effect."""
    DeadLetter.objects.bulk_create(
        (_dead_letter(connection, event, reason) for event, reason in prepared.dead_letters),
        ignore_conflicts=True,
    )


def _dead_letter(connection: Connection, event: LoggedEvent, reason: str) -> DeadLetter:
    return DeadLetter(
        connection=connection,
        event_id=event.id,
        message_id=event.message_id,
        reason=reason,
        payload=event.payload,
    )
