"""What came in lately, from the end of the log: never a count over all of it."""

from __future__ import annotations

from datetime import datetime

from django.db import connection


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
