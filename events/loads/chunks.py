"""Moving a range of the log through a connection's session, chunk by chunk.

The destination holds the cursor and moves it with the rows (design: the cursor in the
warehouse), so a run may be killed at any point and run again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from time import monotonic
from typing import Any

import psycopg
from django.conf import settings
from django.db.models import F, QuerySet
from django.utils import timezone

from destinations.interface import (
    Chunk,
    ChunkRefusedError,
    DestinationError,
    Feed,
    LoadResult,
    LoggedEvent,
    Prepared,
    Session,
)
from destinations.models import Connection
from destinations.registry import destination_type
from events import log
from events.erased_events import forget_loaded
from events.models import DeadLetter, LetterState
from events.reasons import reason_kind

logger = logging.getLogger(__name__)

Read = Callable[[int, int], Chunk]
"""The next events after an id, at most so many."""
Wrote = Callable[[Prepared, LoadResult], None]


def open_session(connection: Connection, cursor_id: int) -> Session:
    """A session whose cursor is this one; the first ever fixes the connection's namespace."""
    destination = connection.destination
    kind = destination_type(destination.type)
    if not connection.namespace:
        connection.namespace = kind.namespace(destination.config, connection.source.name)
        connection.save(update_fields=["namespace"])
    return kind.open(destination.config, destination.secrets, feed_of(connection, cursor_id))


def from_log(reader: psycopg.Connection[Any], connection: Connection, upto: int) -> Read:
    def read(after: int, most: int) -> Chunk:
        limits = (most, settings.LOAD_CHUNK_BYTES)
        return log.read_chunk(reader, connection.source_id, after, upto, *limits)

    return read


def move(
    session: Session,
    read: Read,
    connection: Connection,
    after: int,
    upto: int,
    wrote: Wrote,
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


def feed_of(connection: Connection, cursor_id: int) -> Feed:
    return Feed(
        connection_id=cursor_id,
        namespace=connection.namespace,
        source_id=connection.source.public_id,
        source_type=connection.source.type,
        source_category=connection.source.category,
        destination_id=connection.destination.public_id,
        destination_type=connection.destination.type,
        namespaces=connection.destination.namespaces(),
        event_filter=connection.event_filter,
    )


def _prepared(
    session: Session,
    read: Read,
    position: int,
    upto: int,
    size: int,
    until: float,
) -> Iterator[Prepared]:
    """The chunks in order; the next is read and transformed while one is being written.

    They grow, so that the first is written soon and many are written well.
    """

    def next_chunk(after: int, size: int) -> Prepared:
        return session.prepare(read(after, min(size, settings.LOAD_CHUNK_EVENTS)))

    with ThreadPoolExecutor(1, thread_name_prefix="prepare") as ahead:
        coming: Future[Prepared] | None = ahead.submit(next_chunk, position, size)
        while coming is not None:
            prepared = coming.result()
            size *= 2
            more = prepared.chunk.upto < upto and monotonic() < until
            coming = ahead.submit(next_chunk, prepared.chunk.upto, size) if more else None
            yield prepared


def _commit(
    session: Session, connection: Connection, prepared: Prepared, wrote: Wrote, began: datetime
) -> None:
    """Write a chunk; when it is refused, halve it until the event is found."""
    try:
        _keep_dead_letters(connection, prepared, began)
        result = session.load(prepared)
    except ChunkRefusedError as error:
        logger.warning("chunk refused connection=%s: %s", connection.pk, reason_kind(str(error)))
        if error.guilty:
            rest = _without(session, prepared, error.guilty)
            _commit(session, connection, rest, wrote, began)
            return
        for part in _halves(prepared, str(error)):
            ready = part if isinstance(part, Prepared) else session.prepare(part)
            _commit(session, connection, ready, wrote, began)
    else:
        wrote(prepared, result)
        _close_loaded(connection, prepared)
        forget_loaded(connection, prepared.chunk.upto, result.rewritten)


def _without(session: Session, prepared: Prepared, guilty: Mapping[int, str]) -> Prepared:
    """The chunk with these events, too, as dead letters."""
    chunk, refused = prepared.chunk, prepared.refused | guilty.keys()
    others = [event for event in chunk.events if event.id not in refused]
    rest = session.prepare(Chunk(chunk.after, chunk.upto, others))
    dead = [(event, guilty[event.id]) for event in chunk.events if event.id in guilty]
    return Prepared(chunk, rest.content, [*prepared.dead_letters, *dead], rest.skipped)


def _halves(prepared: Prepared, reason: str) -> Iterator[Chunk | Prepared]:
    """Two smaller chunks; of a single event, an empty chunk that dead-letters it."""
    chunk = prepared.chunk
    if len(chunk.events) > 1:
        middle = len(chunk.events) // 2
        cut = chunk.events[middle - 1].id
        yield Chunk(chunk.after, cut, chunk.events[:middle])
        yield Chunk(cut, chunk.upto, chunk.events[middle:])
    elif chunk.events and prepared.content is not None:
        dead = [(chunk.events[0], reason)]
        yield Prepared(chunk, content=None, dead_letters=dead)
    else:
        raise DestinationError(f"an empty chunk was refused: {reason_kind(reason)}")


def _keep_dead_letters(connection: Connection, prepared: Prepared, began: datetime) -> None:
    """Before the cursor passes them; again after a kill, to no effect."""
    found = {event.id: (event, reason) for event, reason in prepared.dead_letters}
    DeadLetter.objects.bulk_create(
        (_dead_letter(connection, event, reason) for event, reason in prepared.dead_letters),
        ignore_conflicts=True,
    )
    known = DeadLetter.objects.filter(connection=connection, event_id__in=found)
    for letter in known.filter(tried_at__lt=began).defer("payload"):
        _try_in_vain(letter, *found[letter.event_id])


def _dead_letter(connection: Connection, event: LoggedEvent, reason: str) -> DeadLetter:
    return DeadLetter(
        connection=connection,
        event_id=event.id,
        message_id=event.message_id,
        reason=reason,
        kind=reason_kind(reason),
        payload=event.payload,
    )


def _try_in_vain(letter: DeadLetter, event: LoggedEvent, reason: str) -> None:
    """What was discarded stays so."""
    was_loaded = letter.state == LetterState.LOADED
    DeadLetter.objects.filter(pk=letter.pk).update(
        reason=reason,
        kind=reason_kind(reason),
        payload=event.payload,
        attempts=F("attempts") + 1,
        tried_at=timezone.now(),
        state=LetterState.OPEN if was_loaded else letter.state,
    )


def _close_loaded(connection: Connection, prepared: Prepared) -> None:
    """The dead letters of events that are loaded now."""
    loaded = {event.id for event in prepared.chunk.events} - prepared.refused
    letters = DeadLetter.objects.filter(
        connection=connection,
        event_id__gt=prepared.chunk.after,
        event_id__lte=prepared.chunk.upto,
    ).exclude(state=LetterState.LOADED)
    mended = [pk for pk, event_id in letters.values_list("pk", "event_id") if event_id in loaded]
    close_as_loaded(DeadLetter.objects.filter(pk__in=mended))


def close_as_loaded(letters: QuerySet[DeadLetter]) -> None:
    """Without the payload, which is where events belong now."""
    letters.update(
        state=LetterState.LOADED,
        payload="",
        attempts=F("attempts") + 1,
        closed_at=timezone.now(),
    )
