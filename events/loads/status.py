"""The health of a connection: a severity and a word, so that no colour is needed."""

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
WORKER_DELAY = timedelta(minutes=5)
"""The time within which a running worker loads; events that wait longer are a problem."""
UNATTENDED = "not being loaded"


@dataclass(frozen=True)
class Health:
    kind: str
    word: str
    next_at: datetime | None = None
    """When the next load or retry starts; None if unknown."""


def health(
    connection: Connection, waiting: int, now: datetime, since: datetime | None = None
) -> Health:
    """`waiting` is the number of waiting events, `since` the time when the oldest was accepted."""
    if not connection.enabled:
        return Health(OFF, "paused")
    if not connection.destination.enabled:
        return Health(OFF, "destination disabled")
    if connection.error:
        return Health(BAD, "failing", connection.retry_at if connection.is_waiting(now) else None)
    if waiting:
        return _waiting_health(connection, now, since)
    return Health(GOOD, "up to date")


def worst_health(healths: Iterable[Health]) -> Health | None:
    return max(healths, key=lambda health: SEVERITY.index(health.kind), default=None)


def _waiting_health(connection: Connection, now: datetime, since: datetime | None) -> Health:
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
    loaded_at = max(connection.last_loaded_at or connection.created_at, connection.created_at)
    return since is not None and max(since, loaded_at) < now - WORKER_DELAY
