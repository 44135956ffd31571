"""Counts the log once, behind its writers: by minute for charts, by place for the ledger.

The counts have a cursor of their own, the newest LogMark, which moves in the transaction that
adds what it passed: so they are exact, and cost the gateway nothing.
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

COUNT_LOCK = 0x72756464_00000004
STEP = 20_000
"""Ids between two marks that stay: what a reader may have to count by itself."""
FOLDS = {"hour": timedelta(days=2), "day": timedelta(days=32)}
"""How old minutes are when they are folded into hours, and these into days."""

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
) AS come
GROUP BY 1, 2
ORDER BY 1, 2
"""

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
    """Count up to the barrier, or for so long; whether all is counted now.

    Of several callers at once only one does it.
    """
    until = monotonic() + seconds
    taken = conn.execute("SELECT pg_try_advisory_lock(%s)", [COUNT_LOCK]).fetchone()
    if not taken or not taken[0]:
        return False
    try:
        barrier = reader.barrier(conn)
        mark = _newest(conn)
        while mark.upto < barrier:
            mark = _count_on(conn, mark, barrier, step)
            if monotonic() >= until:
                break
        return mark.upto >= barrier
    finally:
        conn.execute("SELECT pg_advisory_unlock(%s)", [COUNT_LOCK])


def fold_old_minutes(conn: psycopg.Connection[Any], now: datetime) -> None:
    """Old minutes into hours, old hours into days; the sums stay."""
    for unit, age in FOLDS.items():
        before = (now - age).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        with conn.transaction():
            conn.execute("SELECT pg_advisory_xact_lock(%s)", [COUNT_LOCK])
            conn.execute(_FOLD, {"before": before, "unit": unit})


def counts_by_bin(
    since: datetime, length: timedelta, source_pk: int | None = None
) -> list[BinCount]:
    """Accepted events since a time by bins of that length and type, those just come, too."""
    given: dict[str, Any] = {"since": since, "length": length, "source": source_pk}
    with connection.cursor() as cursor:
        cursor.execute(_BY_BIN, given)
        return [BinCount(*row) for row in cursor.fetchall()]


def total_upto(source_pk: int, upto: int) -> int:
    """How many events a source ever sent with an id up to this one.

    Exact while the log still holds the events since the mark below it.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MARK_BELOW, [upto])
        mark = _mark(cursor.fetchone())
        cursor.execute(_COUNT_SOURCE, [mark.upto, upto, source_pk])
        return mark.totals.get(source_pk, 0) + int(cursor.fetchone()[0])


def totals_at(places: Sequence[tuple[int, int]]) -> list[int]:
    """As total_upto, of many pairs of a source and an id, in one query."""
    given = {"sources": [source for source, _ in places], "ids": [upto for _, upto in places]}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_AT, given)
        return [int(total) for (total,) in cursor.fetchall()]


def totals(upto: int) -> Counter[int]:
    """As total_upto, of every source."""
    with connection.cursor() as cursor:
        cursor.execute(_MARK_BELOW, [upto])
        mark = _mark(cursor.fetchone())
        cursor.execute(_COUNT_ALL, [mark.upto, upto])
        return Counter(mark.totals) + Counter(dict(cursor.fetchall()))


def uncounted_ids() -> int:
    """The ids above the newest mark: about how far the counts are behind."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT coalesce(max(id), 0) FROM events_event)"
            " - (SELECT coalesce(max(upto_id), 0) FROM events_logmark)"
        )
        return max(int(cursor.fetchone()[0]), 0)


def dropped_events(source_pk: int) -> int:
    """How many events of a source the log no longer holds: those of days that were dropped."""
    with connection.cursor() as cursor:
        cursor.execute(_DROPPED, [source_pk])
        return int(cursor.fetchone()[0])


def _newest(conn: psycopg.Connection[Any]) -> Mark:
    return _mark(
        conn.execute(
            "SELECT upto_id, totals FROM events_logmark ORDER BY upto_id DESC LIMIT 1"
        ).fetchone()
    )


def _mark(row: tuple[int, Any] | None) -> Mark:
    if row is None:
        return Mark(0, {})
    stored = json.loads(row[1]) if isinstance(row[1], str) else row[1]
    return Mark(row[0], {int(source): count for source, count in stored.items()})


def _count_on(conn: psycopg.Connection[Any], mark: Mark, barrier: int, step: int) -> Mark:
    """The next mark: the end of the step that holds the next event, or the barrier."""
    row = conn.execute("SELECT min(id) FROM events_event WHERE id > %s", [mark.upto]).fetchone()
    first = row[0] if row and row[0] is not None else barrier
    upto = min(barrier, -(-first // step) * step)
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
