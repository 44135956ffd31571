"""Moving a range of the log through a connection's session, chunk by chunk.

The destination holds the cursor and moves it with the rows (design: the cursor in the
warehouse), so a run may be killed at any point and run again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from time import monotonic
from typing import Any

import psycopg
from django.conf import settings

from destinations.interface import (
    Chunk,
    ChunkRefusedError,
    DestinationError,
    PreparedChunk,
    Session,
)
from destinations.models import Connection
from events.loads.dead_letters import close_loaded_letters, store_dead_letters
from events.loads.session import ReadChunk, RecordChunk
from events.log import reader as event_reader
from events.log.erasure import rewrite_loaded_events
from events.workers.errors import fingerprint

logger = logging.getLogger(__name__)


def chunk_reader(reader: psycopg.Connection[Any], connection: Connection, upto: int) -> ReadChunk:
    def read(after: int, most: int) -> Chunk:
        limits = (most, settings.LOAD_CHUNK_BYTES)
        return event_reader.read_chunk(reader, connection.source_id, after, upto, *limits)

    return read


def load_range(
    session: Session,
    read: ReadChunk,
    connection: Connection,
    after: int,
    upto: int,
    wrote: RecordChunk,
    *,
    first_events: int,
    began: datetime,
    until: float,
) -> None:
    """Write the events with after < id <= upto, or as many chunks as begin before `until`.

    `until` is a time of time.monotonic(). `wrote` is called with each chunk after its commit.
    A dead letter that was tried before the run `began` counts another attempt.
    """
    for prepared in _prepared(session, read, after, upto, first_events, until):
        _commit(session, connection, prepared, wrote, began)


def _prepared(
    session: Session,
    read: ReadChunk,
    position: int,
    upto: int,
    size: int,
    until: float,
) -> Iterator[PreparedChunk]:
    """The chunks in order; the next is read and transformed while one is being written.

    They grow, so that the first is written soon and many are written well.
    """

    def next_chunk(after: int, size: int) -> PreparedChunk:
        return session.prepare(read(after, min(size, settings.LOAD_CHUNK_EVENTS)))

    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as ahead:
        coming: Future[PreparedChunk] | None = ahead.submit(next_chunk, position, size)
        while coming is not None:
            prepared = coming.result()
            size *= 2
            more = prepared.chunk.upto < upto and monotonic() < until
            coming = ahead.submit(next_chunk, prepared.chunk.upto, size) if more else None
            yield prepared


def _commit(
    session: Session,
    connection: Connection,
    prepared: PreparedChunk,
    wrote: RecordChunk,
    began: datetime,
) -> None:
    """Write a chunk; when it is refused, halve it until the event is found."""
    try:
        store_dead_letters(connection, prepared, began)
        result = session.load(prepared)
    except ChunkRefusedError as error:
        logger.warning("chunk refused connection=%s: %s", connection.pk, fingerprint(str(error)))
        if error.reasons:
            rest = _without(session, prepared, error.reasons)
            _commit(session, connection, rest, wrote, began)
            return
        for part in _halves(prepared, str(error)):
            ready = part if isinstance(part, PreparedChunk) else session.prepare(part)
            _commit(session, connection, ready, wrote, began)
    else:
        wrote(prepared, result)
        close_loaded_letters(connection, prepared)
        rewrite_loaded_events(connection, prepared.chunk.upto, result.rewritten)


def _without(
    session: Session, prepared: PreparedChunk, reasons: Mapping[int, str]
) -> PreparedChunk:
    """The chunk with these events, too, as dead letters."""
    chunk, refused = prepared.chunk, prepared.dead_letter_ids | reasons.keys()
    others = [event for event in chunk.events if event.id not in refused]
    rest = session.prepare(Chunk(chunk.after, chunk.upto, others))
    dead = [(event, reasons[event.id]) for event in chunk.events if event.id in reasons]
    return PreparedChunk(chunk, rest.content, [*prepared.dead_letters, *dead], rest.skipped)


def _halves(prepared: PreparedChunk, reason: str) -> Iterator[Chunk | PreparedChunk]:
    """Two smaller chunks; of a single event, an empty chunk that dead-letters it."""
    chunk = prepared.chunk
    if len(chunk.events) > 1:
        middle = len(chunk.events) // 2
        cut = chunk.events[middle - 1].id
        yield Chunk(chunk.after, cut, chunk.events[:middle])
        yield Chunk(cut, chunk.upto, chunk.events[middle:])
    elif chunk.events and prepared.content is not None:
        dead = [(chunk.events[0], reason)]
        yield PreparedChunk(chunk, content=None, dead_letters=dead)
    else:
        raise DestinationError(f"an empty chunk was refused: {fingerprint(reason)}")
