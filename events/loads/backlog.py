"""How far connections are behind: events that wait, counted exactly, and since when."""

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

NEAR = 20_000
"""Ids above a cursor among which its oldest event is looked for."""

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
    """When the oldest was accepted. None if none waits or it is beyond NEAR."""

    def seconds(self, now: datetime) -> float | None:
        return max((now - self.oldest_at).total_seconds(), 0) if self.oldest_at else None


def backlogs(connections: Sequence[Connection]) -> dict[int, Backlog]:
    """By the connection's key; counts of the log between two marks, never of all of it."""
    end = head_id()
    behind = [each for each in connections if cursor_position(each) < end]
    found = {each.pk: Backlog() for each in connections}
    if behind:
        totals, lost = counts.totals(end), _lost_ahead(behind)
        passed = counts.totals_at([(each.source_id, cursor_position(each)) for each in behind])
        since = oldest_event_times(behind)
        for each, before in zip(behind, passed, strict=True):
            waiting = max(totals[each.source_id] - before - lost[each.pk], 0)
            found[each.pk] = Backlog(waiting, since[each.pk] if waiting else None)
    return found


def cursor_position(connection: Connection) -> int:
    """As last seen; before the first load where it is to begin."""
    return max(connection.position, connection.start_position or 0)


def _lost_ahead(connections: Sequence[Connection]) -> Counter[int]:
    """Events above the cursors that retention has dropped."""
    lost = Counter[int]()
    positions = {each.pk: cursor_position(each) for each in connections}
    for loss in Loss.objects.filter(connection__in=connections):
        if loss.last_id > positions[loss.connection_id]:
            lost[loss.connection_id] += loss.events
    return lost


def oldest_event_times(
    connections: Sequence[Connection], *, near: int = NEAR
) -> dict[int, datetime | None]:
    """When the first event above each cursor was accepted; None where none is near."""
    given: dict[str, Any] = {
        "keys": [each.pk for each in connections],
        "sources": [each.source_id for each in connections],
        "cursors": [cursor_position(each) for each in connections],
        "near": near,
    }
    with database.cursor() as query:
        query.execute(_OLDEST, given)
        return dict(query.fetchall())
