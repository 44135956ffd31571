"""How connections fare, for the pages that show them: counted once for all of a page."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils import timezone

from destinations.models import Connection
from events.backlog import Backlog, backlogs
from events.health import Health, health
from sources.display import length


def add_backlogs(connections: Iterable[Connection]) -> None:
    every = list(connections)
    found = backlogs(every)
    for each in every:
        each.backlog = found[each.pk]  # type: ignore[attr-defined]


def backlog_of(connection: Connection) -> Backlog:
    """A connection that is just being added has none."""
    return getattr(connection, "backlog", None) or Backlog()


def health_of(connection: Connection) -> Health:
    backlog = backlog_of(connection)
    return health(connection, backlog.events, timezone.now(), backlog.oldest_at)


def lag_of(connection: Connection) -> str:
    """How long its oldest event has waited, in words; nothing when that is not known."""
    oldest_at = backlog_of(connection).oldest_at
    return length(oldest_at, timezone.now()) if oldest_at else ""
