"""Where an event is on its way: the state of each connection of its source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg.sql import SQL, Identifier, Literal

from destinations.models import Connection
from events.models import DeadLetter, Event, Load

TABLES = {
    "track": "tracks",
    "identify": "identifies",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}


@dataclass(frozen=True)
class Stop:
    """One connection's state for one event; kind colours the state: good, wait, bad or off."""

    connection: Connection
    state: str
    kind: str
    detail: str
    dead_letter: DeadLetter | None = None
    select: str = ""
    load: Load | None = None


def trace(
    event: Event, connections: Iterable[Connection], dead_letters: Mapping[int, DeadLetter]
) -> list[Stop]:
    """dead_letters: this event's, by connection."""
    return [_stop(event, each, dead_letters.get(each.pk)) for each in connections]


def summary(stops: list[Stop]) -> tuple[str, str]:
    """The state of an event over all its connections, and its kind: the worst one tells."""
    if not stops:
        return "no connection", "off"
    worst = min(stops, key=lambda stop: ("bad", "wait", "good", "off").index(stop.kind))
    return worst.state, worst.kind


def _stop(event: Event, connection: Connection, dead_letter: DeadLetter | None) -> Stop:
    if dead_letter:
        return Stop(connection, "dead letter", "bad", dead_letter.reason, dead_letter)
    if event.pk <= (connection.start_position or 0):
        return Stop(connection, "before", "off", "The connection began after this event.")
    if event.pk <= connection.position:
        return Stop(connection, "loaded", "good", _loaded(event), select=_select(event, connection))
    return Stop(connection, "pending", "wait", _pending(event, connection))


def _loaded(event: Event) -> str:
    if event.type in TABLES:
        return "In the warehouse."
    return f"The cursor has passed it; a {event.type} event has no table of its type."


def _pending(event: Event, connection: Connection) -> str:
    if not connection.enabled:
        return "The connection is paused: enable it."
    if not connection.destination.enabled:
        return "The destination is disabled: enable it."
    if connection.last_error:
        return f"The last load failed: {connection.last_error}"
    return f"Up to {event.pk - connection.position} events of the log are to be looked at first."


def _select(event: Event, connection: Connection) -> str:
    """A query for the event's row, to copy."""
    if event.type not in TABLES or not connection.namespace:
        return ""
    return (
        SQL("SELECT * FROM {} WHERE id = {};")
        .format(Identifier(connection.namespace, TABLES[event.type]), Literal(event.message_id))
        .as_string(None)
    )
