"""The trace of an event: its state at each connection of its source."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from destinations.interface import Feed
from destinations.models import Connection
from destinations.postgres.load.chunk_content import FILTERED
from destinations.postgres.reads import event_rows
from events.loads import session
from events.loads.advice import advice
from events.models import DeadLetter, Event, LetterState, Load
from rudderhub.admin.live_events.warehouse_trace import Trail, logged


@dataclass(frozen=True)
class Stop:
    """One connection's state for one event; kind colours the state: good, wait, bad or off."""

    connection: Connection
    state: str
    kind: str
    detail: str
    dead_letter: DeadLetter | None = None
    load: Load | None = None
    trail: Trail | None = None


def stops(events: Sequence[Event]) -> dict[int, list[Stop]]:
    """By event, its state at each connection of its source; two queries for all events."""
    feeds = _feeds({event.source_id for event in events})
    dead = DeadLetter.objects.filter(event_id__in=[event.pk for event in events]).defer("payload")
    letters = {(letter.event_id, letter.connection_id): letter for letter in dead}
    return {
        event.pk: [
            _stop(event, connection, feed, letters.get((event.pk, connection.pk)))
            for connection, feed in feeds.get(event.source_id, ())
        ]
        for event in events
    }


def _feeds(source_pks: Collection[int]) -> dict[int, list[tuple[Connection, Feed]]]:
    feeds: dict[int, list[tuple[Connection, Feed]]] = {}
    connections = Connection.objects.filter(source_id__in=source_pks)
    for connection in connections.select_related("source", "destination"):
        feed = session.connection_feed(connection, connection.pk)
        feeds.setdefault(connection.source_id, []).append((connection, feed))
    return feeds


def summary(stops: list[Stop]) -> tuple[str, str]:
    """The worst state of an event over all its connections, and its kind."""
    if not stops:
        return "no connection", "off"
    worst = min(stops, key=lambda stop: ("bad", "wait", "good", "off").index(stop.kind))
    return worst.state, worst.kind


def _stop(event: Event, connection: Connection, feed: Feed, letter: DeadLetter | None) -> Stop:
    if letter and letter.state == LetterState.OPEN:
        return Stop(connection, "dead letter", "bad", letter.reason, letter)
    if letter and letter.state == LetterState.DISCARDED:
        text = f"Dead letter, discarded by {letter.closed_by}: {letter.note}"
        return Stop(connection, "discarded", "off", text, letter)
    if letter:
        text = f"Loaded at attempt {letter.attempts}, after it was a dead letter."
        return Stop(connection, "loaded", "good", text, letter)
    if event.pk <= (connection.start_position or 0):
        return Stop(connection, "before", "off", "The connection started after this event.")
    if event.pk > connection.position:
        return Stop(connection, "pending", "wait", _pending_text(event, connection))
    if event.payload:
        expected = event_rows.expected(logged(event), feed, connection.destination.config)
        if expected.skipped:
            return Stop(connection, "skipped", "off", _skip_text(expected.skipped))
    return Stop(connection, "loaded", "good", "In the warehouse.")


def _skip_text(reason: str) -> str:
    """Judged by the event filter of today, since a skipped event leaves no record."""
    earlier = " If it was loaded before the filter was set, its rows are kept."
    return f"No row because {reason}.{earlier if reason == FILTERED else ''}"


def _pending_text(event: Event, connection: Connection) -> str:
    if not connection.enabled:
        return "The connection is paused. Enable it to load this event."
    if not connection.destination.enabled:
        return "The destination is disabled. Enable it to load this event."
    if connection.error:
        error = connection.error
        stop = "" if error.endswith((".", "?", "!")) else "."
        return f"The last load failed: {error}{stop} {advice(error).text} It retries automatically."
    return f"Up to {event.pk - connection.position} events of the log come first."
