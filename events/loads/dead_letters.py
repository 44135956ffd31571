"""Dead letters once more: which are alike, re-running them, discarding them.

A re-run is a replay of chosen dead letters. It reads what they keep of their events, since the log
may have dropped these, and has a cursor of its own in the warehouse, as every replay has.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from django.db.models import F, QuerySet
from django.utils import timezone

from destinations.interface import Chunk, LoggedEvent, PreparedChunk
from destinations.models import Connection
from events.loads import session
from events.models import DeadLetter, LetterState, Replay
from events.workers.errors import fingerprint

CHUNK_EVENTS = 1_000
MOST_AT_ONCE = 50_000
"""More would keep whoever asked for it waiting."""

_READ = """
SELECT event_id, message_id, payload
FROM events_deadletter
WHERE replay_id = %s AND event_id > %s AND state = 'open'
ORDER BY event_id
LIMIT %s
"""


def similar_letters(letter: DeadLetter) -> QuerySet[DeadLetter]:
    """The open ones of the same connection whose reason differs in its values only."""
    return DeadLetter.objects.filter(
        connection=letter.connection_id, kind=letter.kind, state=LetterState.OPEN
    )


def oldest_letters(letters: QuerySet[DeadLetter], most: int) -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(pk__in=letters.order_by("pk").values("pk")[:most])


def open_letters(connection: Connection, letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
    return letters.filter(connection=connection, state=LetterState.OPEN).order_by()


def discard_letters(letters: QuerySet[DeadLetter], by: str, note: str) -> int:
    """Close the open ones without loading them; how many that was. They are kept."""
    return letters.filter(state=LetterState.OPEN).update(
        state=LetterState.DISCARDED, closed_at=timezone.now(), closed_by=by, note=note
    )


def chunk_reader(reader: psycopg.Connection[Any], replay: Replay) -> session.ReadChunk:
    """The events of a re-run, from its dead letters."""

    def read(after: int, most: int) -> Chunk:
        limit = min(most, CHUNK_EVENTS)
        rows = reader.execute(_READ, [replay.pk, after, limit]).fetchall()
        events = [LoggedEvent(*row) for row in rows]
        return Chunk(after, events[-1].id if len(events) == limit else replay.upto_id, events)

    return read


def close_passed_letters(replay: Replay) -> None:
    """Those that a re-run had loaded when it was killed, before it could say so."""
    passed = replay.letters.filter(
        state=LetterState.OPEN, event_id__lte=replay.position, tried_at__lt=replay.started_at
    )
    close_as_loaded(passed)


def store_dead_letters(connection: Connection, prepared: PreparedChunk, began: datetime) -> None:
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
        kind=fingerprint(reason),
        payload=event.payload,
    )


def _try_in_vain(letter: DeadLetter, event: LoggedEvent, reason: str) -> None:
    """What was discarded stays so."""
    was_loaded = letter.state == LetterState.LOADED
    DeadLetter.objects.filter(pk=letter.pk).update(
        reason=reason,
        kind=fingerprint(reason),
        payload=event.payload,
        attempts=F("attempts") + 1,
        tried_at=timezone.now(),
        state=LetterState.OPEN if was_loaded else letter.state,
    )


def close_loaded_letters(connection: Connection, prepared: PreparedChunk) -> None:
    """The dead letters of events that are loaded now."""
    loaded = {event.id for event in prepared.chunk.events} - prepared.dead_letter_ids
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
