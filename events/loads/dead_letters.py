"""Stores, re-runs and discards dead letters.

A re-run is a replay of chosen dead letters. It reads their payloads, because the log may have
dropped the events, and has a separate cursor in the warehouse, as every replay has.
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
MAX_LETTERS = 50_000
"""The limit of one action, which a user waits for."""

_READ = """
SELECT event_id, message_id, payload
FROM events_deadletter
WHERE replay_id = %s AND event_id > %s AND state = 'open'
ORDER BY event_id
LIMIT %s
"""


def similar_letters(letter: DeadLetter) -> QuerySet[DeadLetter]:
    """The open dead letters of the same connection with the same fingerprint."""
    return DeadLetter.objects.filter(
        connection=letter.connection_id, kind=letter.kind, state=LetterState.OPEN
    )


def oldest_letters(letters: QuerySet[DeadLetter], limit: int) -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(pk__in=letters.order_by("pk").values("pk")[:limit])


def open_letters(connection: Connection, letters: QuerySet[DeadLetter]) -> QuerySet[DeadLetter]:
    return letters.filter(connection=connection, state=LetterState.OPEN).order_by()


def discard_letters(letters: QuerySet[DeadLetter], by: str, note: str) -> int:
    """Close the open ones without loading them; returns their number."""
    return letters.filter(state=LetterState.OPEN).update(
        state=LetterState.DISCARDED, closed_at=timezone.now(), closed_by=by, note=note
    )


def chunk_reader(reader: psycopg.Connection[Any], replay: Replay) -> session.ReadChunk:
    def read(after: int, max_events: int) -> Chunk:
        limit = min(max_events, CHUNK_EVENTS)
        rows = reader.execute(_READ, [replay.pk, after, limit]).fetchall()
        events = [LoggedEvent(*row) for row in rows]
        return Chunk(after, events[-1].id if len(events) == limit else replay.upto_id, events)

    return read


def close_passed_letters(replay: Replay) -> None:
    """Close the dead letters of chunks that a killed re-run had committed but not recorded."""
    _close_as_loaded(
        replay.letters.filter(
            state=LetterState.OPEN, event_id__lte=replay.position, tried_at__lt=replay.started_at
        )
    )


def store_dead_letters(connection: Connection, prepared: PreparedChunk, began: datetime) -> None:
    """Store the chunk's dead letters before the cursor passes them; it may run twice."""
    failures = {event.id: (event, reason) for event, reason in prepared.dead_letters}
    letters = [
        DeadLetter(
            connection=connection,
            event_id=event.id,
            message_id=event.message_id,
            reason=reason,
            kind=fingerprint(reason),
            payload=event.payload,
        )
        for event, reason in prepared.dead_letters
    ]
    DeadLetter.objects.bulk_create(letters, ignore_conflicts=True)
    stored = DeadLetter.objects.filter(connection=connection, event_id__in=failures)
    for letter in stored.filter(tried_at__lt=began).defer("payload"):
        _record_attempt(letter, *failures[letter.event_id])


def _record_attempt(letter: DeadLetter, event: LoggedEvent, reason: str) -> None:
    """Count a failed attempt; a discarded dead letter stays discarded."""
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
    """Close the dead letters of events that the chunk has loaded."""
    loaded = {event.id for event in prepared.chunk.events} - prepared.dead_letter_ids
    letters = DeadLetter.objects.filter(
        connection=connection,
        event_id__gt=prepared.chunk.after,
        event_id__lte=prepared.chunk.upto,
    ).exclude(state=LetterState.LOADED)
    loaded_pks = [
        pk for pk, event_id in letters.values_list("pk", "event_id") if event_id in loaded
    ]
    _close_as_loaded(DeadLetter.objects.filter(pk__in=loaded_pks))


def _close_as_loaded(letters: QuerySet[DeadLetter]) -> None:
    """Close them without their payload, which the warehouse has now."""
    letters.update(
        state=LetterState.LOADED,
        payload="",
        attempts=F("attempts") + 1,
        closed_at=timezone.now(),
    )
