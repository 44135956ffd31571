"""Counts of what is deleted along with a record."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from destinations.models import Connection
from events.loads.backlog import backlogs
from events.models import DeadLetter, Load, Replay


def connection_counts(connections: QuerySet[Connection]) -> dict[str, int]:
    return {
        "loads": Load.objects.filter(connection__in=connections).count(),
        "replays": Replay.objects.filter(connection__in=connections).count(),
        "dead letters": DeadLetter.objects.filter(connection__in=connections).count(),
    }


def pending_events(connections: Sequence[Connection]) -> int:
    """Accepted events that the connections will not load any more."""
    return sum(backlog.events for backlog in backlogs(connections).values())
