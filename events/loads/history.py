"""How long the history of loads and dead letters is kept."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import connection
from django.utils import timezone

BATCH = 10_000

_LOADS = """
DELETE FROM events_load
WHERE id IN (SELECT id FROM events_load WHERE started_at < %s ORDER BY id LIMIT %s)
"""

_DEAD_LETTERS = """
DELETE FROM events_deadletter
WHERE id IN (SELECT id FROM events_deadletter WHERE created_at < %s ORDER BY id LIMIT %s)
"""


def delete_old() -> None:
    """Delete what is older than the days of its setting, in short transactions."""
    _forget(_LOADS, settings.LOAD_HISTORY_DAYS)
    _forget(_DEAD_LETTERS, settings.DEAD_LETTER_DAYS)


def _forget(statement: str, days: int) -> None:
    oldest = timezone.now() - timedelta(days=days)
    deleted = BATCH
    with connection.cursor() as cursor:
        while deleted == BATCH:
            cursor.execute(statement, [oldest, BATCH])
            deleted = cursor.rowcount
