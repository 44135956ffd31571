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
from rudderhub.admin.live_events.warehouse_trace import WarehouseTrace, logged


@dataclass(frozen=True)
class TraceStep:
    """The state of an event at one connection; kind colours it: good, wait, bad or off."""

    connection: Connection
    state: str
    kind: str
    detail: str
    dead_letter: DeadLetter | None = None
    load: Load | None = None
    warehouse: WarehouseTrace | None = None


def trace_steps(events: Sequence[Event]) -> dict[int, list[TraceStep]]:
    """By event, the steps at each connection of its source; two queries for all events."""
    feeds = _feeds({event.source_id for event in events})
    dead_letters = DeadLetter.objects.filter(event_id__in=[event.pk for event in events]).defer(
        "payload"
    )
    letters = {(letter.event_id, letter.connection_id): letter for letter in dead_letters}
    return {
        event.pk: [
            _trace_step(event, connection, feed, letters.get((event.pk, connection.pk)))
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


def worst_state(steps: list[TraceStep]) -> tuple[str, str]:
    """The worst state of an event over all its connections, and its kind."""
    if not steps:
        return "no connection", "off"
    worst = min(steps, key=lambda step: ("bad", "wait", "good", "off").index(step.kind))
    return worst.state, worst.kind


def _trace_step(
    event: Event, connection: Connection, feed: Feed, letter: DeadLetter | None
) -> TraceStep:
    if letter and letter.state == LetterState.OPEN:
        return TraceStep(connection, "dead letter", "bad", letter.reason, letter)
    if letter and letter.state == LetterState.DISCARDED:
        text = f"Dead letter, discarded by {letter.closed_by}: {letter.note}"
        return TraceStep(connection, "discarded", "off", text, letter)
    if letter:
        text = f"Loaded at attempt {letter.attempts}, after it was a dead letter."
        return TraceStep(connection, "loaded", "good", text, letter)
    if event.pk <= (connection.start_position or 0):
        return TraceStep(connection, "before", "off", "The connection started after this event.")
    if event.pk > connection.position:
        return TraceStep(connection, "pending", "wait", _pending_text(event, connection))
    if event.payload:
        expected = event_rows.expected_rows(logged(event), feed, connection.destination.config)
        if expected.skipped:
            return TraceStep(connection, "skipped", "off", _skip_text(expected.skipped))
    return TraceStep(connection, "loaded", "good", "In the warehouse.")


def _skip_text(reason: str) -> str:
    """The reason by the event filter of today, since a skipped event leaves no record."""
    earlier = " If it was loaded before the filter was set, its rows are kept."
    return f"No row because {reason}.{earlier if reason == FILTERED else ''}"


def _pending_text(event: Event, connection: Connection) -> str:
    if not connection.enabled:
        return "The connection is paused. Enable it to load this event."
    if not connection.destination.enabled:
        return "The destination is disabled. Enable it to load this event."
    if connection.error:
        error = connection.error
        period = "" if error.endswith((".", "?", "!")) else "."
        return (
            f"The last load failed: {error}{period} {advice(error).text} It retries automatically."
        )
    return f"Up to {event.pk - connection.position} events of the log come first."
