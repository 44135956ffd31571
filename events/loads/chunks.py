"""Loads a range of the log through a connection's session, chunk by chunk.

The destination stores the cursor and moves it with the rows, so a run may be killed at any point
and run again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
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
    def read(after: int, max_events: int) -> Chunk:
        limits = (max_events, settings.LOAD_CHUNK_BYTES)
        return event_reader.read_chunk(reader, connection.source_id, after, upto, *limits)

    return read


def load_range(
    session: Session,
    read: ReadChunk,
    connection: Connection,
    after: int,
    upto: int,
    record: RecordChunk,
    *,
    first_events: int,
    began: datetime,
    until: float,
) -> None:
    """Load the events with after < id <= upto, in chunks that start before `until` (monotonic).

    Dead letters with a last attempt before `began` count another attempt.
    """
    for prepared in _prepared_chunks(session, read, after, upto, first_events, until):
        _commit_chunk(session, connection, prepared, record, began)


def _prepared_chunks(
    session: Session,
    read: ReadChunk,
    after: int,
    upto: int,
    max_events: int,
    until: float,
) -> Iterator[PreparedChunk]:
    """The chunks in order; the next is read and transformed while one is being written.

    Each is twice as large as the last: the first is written soon, and large ones are efficient.
    """

    def prepare(after: int, max_events: int) -> PreparedChunk:
        return session.prepare(read(after, min(max_events, settings.LOAD_CHUNK_EVENTS)))

    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as executor:
        future: Future[PreparedChunk] | None = executor.submit(prepare, after, max_events)
        while future is not None:
            prepared = future.result()
            after, max_events = prepared.chunk.upto, 2 * max_events
            has_next = after < upto and monotonic() < until
            future = executor.submit(prepare, after, max_events) if has_next else None
            yield prepared


def _commit_chunk(
    session: Session,
    connection: Connection,
    prepared: PreparedChunk,
    record: RecordChunk,
    began: datetime,
) -> None:
    """Write a chunk; halve a refused chunk until the event that causes it is alone."""
    try:
        store_dead_letters(connection, prepared, began)
        result = session.load(prepared)
    except ChunkRefusedError as error:
        logger.warning("chunk refused connection=%s: %s", connection.pk, fingerprint(str(error)))
        parts: Iterable[PreparedChunk] = (
            [_with_dead_letters(session, prepared, error.reasons)]
            if error.reasons
            else _smaller_chunks(session, prepared, str(error))
        )
        for part in parts:
            _commit_chunk(session, connection, part, record, began)
    else:
        record(prepared, result)
        close_loaded_letters(connection, prepared)
        rewrite_loaded_events(connection, prepared.chunk.upto, result.rewritten)


def _with_dead_letters(
    session: Session, prepared: PreparedChunk, reasons: Mapping[int, str]
) -> PreparedChunk:
    """The chunk with these events as further dead letters."""
    chunk, refused = prepared.chunk, prepared.dead_letter_ids | reasons.keys()
    others = [event for event in chunk.events if event.id not in refused]
    rest = session.prepare(Chunk(chunk.after, chunk.upto, others))
    dead = [(event, reasons[event.id]) for event in chunk.events if event.id in reasons]
    return PreparedChunk(chunk, rest.content, [*prepared.dead_letters, *dead], rest.skipped)


def _smaller_chunks(
    session: Session, prepared: PreparedChunk, reason: str
) -> Iterator[PreparedChunk]:
    """The chunk in two halves; a single event becomes a dead letter of an empty chunk."""
    chunk = prepared.chunk
    if len(chunk.events) > 1:
        middle = len(chunk.events) // 2
        cut = chunk.events[middle - 1].id
        yield session.prepare(Chunk(chunk.after, cut, chunk.events[:middle]))
        yield session.prepare(Chunk(cut, chunk.upto, chunk.events[middle:]))
    elif chunk.events and prepared.content is not None:
        yield PreparedChunk(chunk, content=None, dead_letters=[(chunk.events[0], reason)])
    else:
        raise DestinationError(f"an empty chunk was refused: {fingerprint(reason)}")
