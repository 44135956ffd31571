"""Counts the events of the log: by minute for charts, by id for the ledger.

The counts have a separate cursor, the newest LogMark, which moves in the transaction that adds the
counts of its step. So they are exact, and cost the gateway nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple

import psycopg
from django.db import connection

from events.log import reader, sdks
from events.workers.locks import try_lock

COUNT_LOCK = 0x72756464_00000004
STEP = 20_000
"""The number of ids between two marks, which is at most what a reader has to count."""
FOLDS = {"hour": timedelta(days=2), "day": timedelta(days=32)}
"""The age at which minutes are added up to hours, and hours to days."""

_ADD = """
WITH counted AS (
    SELECT date_trunc('minute', received_at, 'UTC') AS minute, source_id, type, count(*) AS events
    FROM events_event
    WHERE id > %(after)s AND id <= %(upto)s
    GROUP BY 1, 2, 3
), added AS (
    INSERT INTO events_minutecount (minute, source_id, type, events)
    SELECT minute, source_id, type, events
    FROM counted
    ON CONFLICT (minute, source_id, type)
    DO UPDATE SET events = events_minutecount.events + excluded.events
)
SELECT source_id, sum(events)::bigint
FROM counted
GROUP BY source_id
"""

_FOLD = """
WITH old AS (
    DELETE FROM events_minutecount
    WHERE minute < %(before)s AND minute <> date_trunc(%(unit)s, minute, 'UTC')
    RETURNING date_trunc(%(unit)s, minute, 'UTC') AS start, source_id, type, events
), summed AS (
    SELECT start, source_id, type, sum(events) AS events FROM old GROUP BY 1, 2, 3
)
INSERT INTO events_minutecount (minute, source_id, type, events)
SELECT start, source_id, type, events
FROM summed
ON CONFLICT (minute, source_id, type)
DO UPDATE SET events = events_minutecount.events + excluded.events
"""

_BY_BIN = """
SELECT date_bin(%(length)s, minute, %(since)s) AS start, type, sum(events)::bigint
FROM (
    SELECT minute, type, events
    FROM events_minutecount
    WHERE minute >= %(since)s AND (%(source)s::bigint IS NULL OR source_id = %(source)s)
    UNION ALL
    SELECT received_at, type, 1
    FROM events_event
    WHERE id > (SELECT coalesce(max(upto_id), 0) FROM events_logmark)
        AND received_at >= %(since)s
        AND (%(source)s::bigint IS NULL OR source_id = %(source)s)
) AS accepted
GROUP BY 1, 2
ORDER BY 1, 2
"""

_NEWEST_MARK = "SELECT upto_id, totals FROM events_logmark ORDER BY upto_id DESC LIMIT 1"

_MARK_BELOW = """
SELECT upto_id, totals FROM events_logmark WHERE upto_id <= %s ORDER BY upto_id DESC LIMIT 1
"""

_COUNT_SOURCE = "SELECT count(*) FROM events_event WHERE id > %s AND id <= %s AND source_id = %s"

_COUNT_AT = """
SELECT coalesce((mark.totals ->> place.source_id::text)::bigint, 0) + (
    SELECT count(*)
    FROM events_event
    WHERE id > coalesce(mark.upto_id, 0)
        AND id <= place.id
        AND source_id = place.source_id
)
FROM unnest(%(sources)s::bigint[], %(ids)s::bigint[]) WITH ORDINALITY
    AS place (source_id, id, number)
LEFT JOIN LATERAL (
    SELECT upto_id, totals
    FROM events_logmark
    WHERE upto_id <= place.id
    ORDER BY upto_id DESC
    LIMIT 1
) AS mark ON true
ORDER BY place.number
"""

_COUNT_ALL = """
SELECT source_id, count(*) FROM events_event WHERE id > %s AND id <= %s GROUP BY source_id
"""

_DROPPED = """
SELECT coalesce(sum(events), 0)
FROM events_minutecount
WHERE source_id = %s AND to_char(minute AT TIME ZONE 'UTC', 'YYYYMMDD') NOT IN (
    SELECT right(c.relname, 8)
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'events_event'::regclass
)
"""


class BinCount(NamedTuple):
    start: datetime
    type: str
    events: int


@dataclass(frozen=True)
class Mark:
    upto: int
    totals: dict[int, int]


def advance_counts(
    conn: psycopg.Connection[Any], seconds: float = math.inf, step: int = STEP
) -> bool:
    """Count up to the barrier; False if the time ends first or another session counts."""
    until = monotonic() + seconds
    with try_lock(conn, COUNT_LOCK) as is_locked:
        if not is_locked:
            return False
        barrier = reader.barrier(conn)
        mark = _parsed_mark(conn.execute(_NEWEST_MARK).fetchone())
        while mark.upto < barrier:
            mark = _count_step(conn, mark, barrier, step)
            if monotonic() >= until:
                break
        return mark.upto >= barrier


def fold_old_minutes(conn: psycopg.Connection[Any], now: datetime) -> None:
    """Add up old minutes to hours, and old hours to days."""
    for unit, age in FOLDS.items():
        before = (now - age).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [COUNT_LOCK])
            conn.execute(_FOLD, {"before": before, "unit": unit})


def counts_by_bin(
    since: datetime, length: timedelta, source_pk: int | None = None
) -> list[BinCount]:
    """Accepted events since a time by bin of this length and type, including uncounted events."""
    params: dict[str, Any] = {"since": since, "length": length, "source": source_pk}
    with connection.cursor() as cursor:
        cursor.execute(_BY_BIN, params)
        return [BinCount(*row) for row in cursor.fetchall()]


def total_upto(source_pk: int, upto: int) -> int:
    """The number of events that a source has ever sent up to an id.

    It is exact while the log still holds the events since the mark below the id.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MARK_BELOW, [upto])
        mark = _parsed_mark(cursor.fetchone())
        cursor.execute(_COUNT_SOURCE, [mark.upto, upto, source_pk])
        return mark.totals.get(source_pk, 0) + int(cursor.fetchone()[0])


def totals_at(places: Sequence[tuple[int, int]]) -> list[int]:
    """As total_upto, for many pairs of a source and an id in one query."""
    params = {"sources": [source for source, _ in places], "ids": [upto for _, upto in places]}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_AT, params)
        return [int(total) for (total,) in cursor.fetchall()]


def totals(upto: int) -> Counter[int]:
    """As total_upto, for every source."""
    with connection.cursor() as cursor:
        cursor.execute(_MARK_BELOW, [upto])
        mark = _parsed_mark(cursor.fetchone())
        cursor.execute(_COUNT_ALL, [mark.upto, upto])
        return Counter(mark.totals) + Counter(dict(cursor.fetchall()))


def uncounted_ids() -> int:
    """The number of ids above the newest mark, which is about the number of uncounted events."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT coalesce(max(id), 0) FROM events_event)"
            " - (SELECT coalesce(max(upto_id), 0) FROM events_logmark)"
        )
        return max(int(cursor.fetchone()[0]), 0)


def dropped_events(source_pk: int) -> int:
    """The number of events of a source in days that the log has dropped."""
    with connection.cursor() as cursor:
        cursor.execute(_DROPPED, [source_pk])
        return int(cursor.fetchone()[0])


def _parsed_mark(row: tuple[int, Any] | None) -> Mark:
    if row is None:
        return Mark(0, {})
    stored = json.loads(row[1]) if isinstance(row[1], str) else row[1]
    return Mark(row[0], {int(source): count for source, count in stored.items()})


def _count_step(conn: psycopg.Connection[Any], mark: Mark, barrier: int, step: int) -> Mark:
    """Count up to the end of the step with the next event, or to the barrier; the new mark."""
    row = conn.execute("SELECT min(id) FROM events_event WHERE id > %s", [mark.upto]).fetchone()
    next_id = row[0] if row and row[0] is not None else barrier
    upto = min(barrier, -(-next_id // step) * step)
    with conn.transaction():
        counted = conn.execute(_ADD, {"after": mark.upto, "upto": upto}).fetchall()
        sdks.record_sdks(conn, mark.upto, upto)
        sums = Counter(mark.totals)
        for source_pk, events in counted:
            sums[source_pk] += events
        conn.execute(
            "INSERT INTO events_logmark (upto_id, totals) VALUES (%s, %s)",
            [upto, json.dumps(sums)],
        )
        if mark.upto % step:
            conn.execute("DELETE FROM events_logmark WHERE upto_id = %s", [mark.upto])
    return Mark(upto, dict(sums))
