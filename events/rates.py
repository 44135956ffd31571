"""What came in lately, from the end of the log: never a count over all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection
from django.db.backends.utils import CursorWrapper


@dataclass(frozen=True)
class Interval:
    start: datetime
    events: int


def events_by_interval(upto: datetime, length: timedelta, count: int) -> list[Interval]:
    """About how many events came in each of the last intervals, oldest first.

    The difference of ids at the edges: an id that was drawn but never stored counts.
    """
    edges = [upto - length * back for back in range(count, -1, -1)]
    ids = _ids_at(edges)
    return [
        Interval(start, max(after - before, 0))
        for start, before, after in zip(edges, ids, ids[1:], strict=False)
    ]


def head() -> int:
    """The newest id of the log; 0 while it is empty."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM events_event")
        return int(cursor.fetchone()[0])


def newest_by_source(window: int) -> dict[int, datetime]:
    """When each source last sent something, as far as the newest events tell."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT source_id, max(received_at)
            FROM (
                SELECT source_id, received_at
                FROM events_event
                ORDER BY id DESC
                LIMIT %s
            ) AS newest
            GROUP BY source_id
            """,
            [window],
        )
        return dict(cursor.fetchall())


def _ids_at(moments: Sequence[datetime]) -> list[int]:
    """For each moment the first id received at or after it, found by halving the range of ids."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(min(id), 1), coalesce(max(id), 0) + 1 FROM events_event")
        first, end = cursor.fetchone()
        low, high = [first] * len(moments), [end] * len(moments)
        while any(a < b for a, b in zip(low, high, strict=True)):
            middle = [(a + b) // 2 for a, b in zip(low, high, strict=True)]
            found = _received_from(cursor, middle)
            for n, moment in enumerate(moments):
                event = found[n]
                if low[n] >= high[n]:
                    continue
                if event is None or event[1] >= moment:
                    high[n] = middle[n]
                else:
                    low[n] = event[0] + 1
    return low


def _received_from(cursor: CursorWrapper, ids: Sequence[int]) -> list[tuple[int, datetime] | None]:
    """The first event at or after each id."""
    cursor.execute(
        """
        SELECT event.id, event.received_at
        FROM unnest(%s::bigint[]) WITH ORDINALITY AS probe (id, number)
        LEFT JOIN LATERAL (
            SELECT id, received_at
            FROM events_event
            WHERE events_event.id >= probe.id
            ORDER BY events_event.id
            LIMIT 1
        ) AS event ON true
        ORDER BY probe.number
        """,
        [list(ids)],
    )
    rows = cursor.fetchall()
    return [None if row[0] is None else row for row in rows]
