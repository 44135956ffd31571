"""The backlog and health of connections, queried at once for all connections of a page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone

from destinations.models import Connection
from events.loads.backlog import Backlog, backlogs
from events.loads.status import Health, health
from rudderhub.admin.base.display import duration_text


@dataclass(frozen=True)
class ConnectionStatus:
    connection: Connection
    backlog: Backlog
    health: Health
    lag: str
    """How long the oldest pending event has waited, in words; empty if it is unknown."""


def connection_statuses(connections: Iterable[Connection]) -> list[ConnectionStatus]:
    """The statuses in the order of the connections, which should have source and destination."""
    connections, now = list(connections), timezone.now()
    pending = backlogs(connections)
    statuses = []
    for connection in connections:
        backlog = pending[connection.pk]
        statuses.append(
            ConnectionStatus(
                connection,
                backlog,
                health(connection, backlog.events, now, backlog.oldest_at),
                duration_text(backlog.oldest_at, now) if backlog.oldest_at else "",
            )
        )
    return statuses
