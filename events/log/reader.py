"""Reads the event log: the barrier, chunks of events and the newest events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
from django.db import connection
from psycopg.sql import SQL, Literal

from destinations.interface import Chunk, LoggedEvent

LOG_LOCK = 0x72756464_00000001
READ_EVENTS = 1_000

_READ_PAGE = """
SELECT id, message_id, payload
FROM events_event
WHERE id > %s AND id <= %s AND source_id = %s
ORDER BY id
LIMIT %s
"""


def barrier(conn: psycopg.Connection[tuple[Any, ...]]) -> int:
    """The id at or below which every event is final; 0 for an empty log."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOG_LOCK])
        row = conn.execute("SELECT coalesce(max(id), 0) FROM events_event").fetchone()
    return int(row[0]) if row else 0


def read_chunk(
    conn: psycopg.Connection[tuple[Any, ...]],
    source_pk: int,
    after: int,
    barrier_id: int,
    max_events: int,
    max_bytes: int,
) -> Chunk:
    """The next events of a source above a cursor, up to the barrier or to either limit."""
    events: list[LoggedEvent] = []
    size = 0
    last = after
    while len(events) < max_events and size < max_bytes:
        limit = min(READ_EVENTS, max_events - len(events))
        rows = conn.execute(_READ_PAGE, [last, barrier_id, source_pk, limit])
        page = [LoggedEvent(*row) for row in rows]
        events += page
        size += sum(len(event.payload) for event in page)
        if len(page) < limit:
            return Chunk(after, barrier_id, events)
        last = page[-1].id
    return Chunk(after, last, events)


def first_id(conn: psycopg.Connection[Any], since: datetime | None, upto: int) -> int | None:
    """The id of the oldest event up to an id, and since a time if one is given."""
    if since is None:
        row = conn.execute("SELECT min(id) FROM events_event WHERE id <= %s", [upto]).fetchone()
    else:
        row = conn.execute(
            "SELECT min(id) FROM events_event WHERE id <= %s AND received_at >= %s", [upto, since]
        ).fetchone()
    return row[0] if row else None


def count_events(
    conn: psycopg.Connection[tuple[Any, ...]],
    source_pk: int,
    after: int,
    upto: int,
    max_seconds: int,
) -> int | None:
    """The number of a source's events with after < id <= upto; None if counting takes too long."""
    try:
        with conn.transaction():
            conn.execute(
                SQL("SET LOCAL statement_timeout = {}").format(Literal(max_seconds * 1000))
            )
            row = conn.execute(
                """
                SELECT count(*)
                FROM events_event
                WHERE id > %s AND id <= %s AND source_id = %s
                """,
                [after, upto, source_pk],
            ).fetchone()
    except psycopg.errors.QueryCanceled:
        return None
    return int(row[0]) if row else None


def head_id() -> int:
    """The newest id of the log; 0 while it is empty."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM events_event")
        return int(cursor.fetchone()[0])


def last_event_times(window: int) -> dict[int, datetime]:
    """The time of each source's last event among the newest events of the log."""
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
