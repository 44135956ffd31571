"""What the history of loads, dead letters and refused requests may grow to."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

from events import quarantine

BATCH = 10_000


def forget_old() -> None:
    """Delete what is older than the days of its setting, in short transactions."""
    quarantine.forget_old()
    _forget(_LOADS, settings.LOAD_HISTORY_DAYS)
    _forget(_DEAD_LETTERS, settings.DEAD_LETTER_DAYS)


def _forget(statement: str, days: int) -> None:
    oldest = timezone.now() - timedelta(days=days)
    deleted = BATCH
    with connection.cursor() as cursor:
        while deleted == BATCH:
            cursor.execute(statement, [oldest, BATCH])
            deleted = cursor.rowcount


_LOADS = """
DELETE FROM events_load
WHERE id IN (SELECT id FROM events_load WHERE started_at < %s ORDER BY id LIMIT %s)
"""
_DEAD_LETTERS = """
DELETE FROM events_deadletter
WHERE id IN (SELECT id FROM events_deadletter WHERE created_at < %s ORDER BY id LIMIT %s)
"""
