"""What is deleted with a record, counted."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import QuerySet

from destinations.models import Connection
from events.backlog import backlogs
from events.models import DeadLetter, Load, Replay


def with_connections(connections: QuerySet[Connection]) -> dict[str, int]:
    return {
        "loads": Load.objects.filter(connection__in=connections).count(),
        "replays": Replay.objects.filter(connection__in=connections).count(),
        "dead letters": DeadLetter.objects.filter(connection__in=connections).count(),
    }


def unloaded(connections: Sequence[Connection]) -> int:
    """Events that wait, and would not be loaded any more."""
    return sum(each.events for each in backlogs(connections).values())
