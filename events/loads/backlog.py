"""The backlog of connections: the exact number of waiting events, and the time of the oldest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection as database

from destinations.models import Connection
from events.log import counts
from events.log.reader import head_id
from events.models import Loss

NEAR_IDS = 20_000
"""The number of ids above a cursor among which the oldest event is searched."""

_OLDEST = """
SELECT behind.key, (
    SELECT received_at
    FROM (
        SELECT source_id, received_at
        FROM events_event
        WHERE id > behind.cursor
        ORDER BY id
        LIMIT %(near)s
    ) AS near
    WHERE source_id = behind.source_id
    LIMIT 1
)
FROM unnest(%(keys)s::bigint[], %(sources)s::bigint[], %(cursors)s::bigint[])
    AS behind (key, source_id, cursor)
"""


@dataclass(frozen=True)
class Backlog:
    events: int = 0
    oldest_at: datetime | None = None
    """When the oldest was accepted; None if no event waits or it is beyond NEAR_IDS."""


def backlogs(connections: Sequence[Connection]) -> dict[int, Backlog]:
    """The backlogs by primary key of the connection, counted from the nearest marks of the log."""
    end = head_id()
    behind = [connection for connection in connections if cursor_position(connection) < end]
    by_pk = {connection.pk: Backlog() for connection in connections}
    if behind:
        totals, lost = counts.totals(end), _lost_events(behind)
        places = [(connection.source_id, cursor_position(connection)) for connection in behind]
        oldest_at = oldest_event_times(behind)
        for connection, passed in zip(behind, counts.totals_at(places), strict=True):
            pk = connection.pk
            waiting = max(totals[connection.source_id] - passed - lost[pk], 0)
            by_pk[pk] = Backlog(waiting, oldest_at[pk] if waiting else None)
    return by_pk


def cursor_position(connection: Connection) -> int:
    """The last known cursor; before the first load the start of the connection."""
    return max(connection.position, connection.start_position or 0)


def _lost_events(connections: Sequence[Connection]) -> Counter[int]:
    """The number of events above each cursor that retention has dropped, by primary key."""
    lost = Counter[int]()
    positions = {connection.pk: cursor_position(connection) for connection in connections}
    for loss in Loss.objects.filter(connection__in=connections):
        if loss.last_id > positions[loss.connection_id]:
            lost[loss.connection_id] += loss.events
    return lost


def oldest_event_times(
    connections: Sequence[Connection], *, near: int = NEAR_IDS
) -> dict[int, datetime | None]:
    """When the first event above each cursor was accepted; None if it is beyond `near` ids."""
    params: dict[str, Any] = {
        "keys": [connection.pk for connection in connections],
        "sources": [connection.source_id for connection in connections],
        "cursors": [cursor_position(connection) for connection in connections],
        "near": near,
    }
    with database.cursor() as query:
        query.execute(_OLDEST, params)
        return dict(query.fetchall())
