"""How a connection fares, as a word that needs no colour."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from destinations.interface import DestinationError
from destinations.models import Connection
from destinations.schedule import Schedule, next_sync
from events.loads.run import is_due

GOOD, WAIT, BAD, OFF = "good", "wait", "bad", "off"
SEVERITY = (GOOD, WAIT, OFF, BAD)
COMES_WITHIN = timedelta(minutes=5)
"""A running worker loads within this time; events that wait longer are a fault."""
UNATTENDED = "not being loaded"


@dataclass(frozen=True)
class Health:
    kind: str
    word: str
    next_at: datetime | None = None
    """When the next load or try begins, if that is known."""


def health(
    connection: Connection, waiting: int, now: datetime, since: datetime | None = None
) -> Health:
    """`waiting` is the number of its events that wait, `since` when the oldest was accepted."""
    if not connection.enabled:
        return Health(OFF, "paused")
    if not connection.destination.enabled:
        return Health(OFF, "destination disabled")
    if connection.error:
        return Health(BAD, "failing", connection.retry_at if connection.is_waiting(now) else None)
    if waiting:
        return _while_waiting(connection, now, since)
    return Health(GOOD, "up to date")


def worst_health(found: Iterable[Health]) -> Health | None:
    return max(found, key=lambda each: SEVERITY.index(each.kind), default=None)


def _while_waiting(connection: Connection, now: datetime, since: datetime | None) -> Health:
    """Loading, or waiting for the schedule, or for a worker that does not come."""
    try:
        schedule = Schedule.from_config(connection.destination.config)
    except DestinationError:
        return Health(BAD, "invalid schedule")
    if schedule.is_continuous and _is_unattended(connection, now, since):
        return Health(BAD, UNATTENDED)
    if schedule.is_continuous or is_due(schedule, connection):
        return Health(WAIT, "loading")
    return Health(GOOD, "scheduled", next_sync(schedule, connection.synced_at, now))


def _is_unattended(connection: Connection, now: datetime, since: datetime | None) -> bool:
    last_seen = max(connection.last_loaded_at or connection.created_at, connection.created_at)
    return since is not None and max(since, last_seen) < now - COMES_WITHIN
