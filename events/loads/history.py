"""Deletes loads and dead letters that are older than their setting allows."""

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
    """Delete old loads and dead letters in short transactions."""
    _delete_rows(_LOADS, settings.LOAD_HISTORY_DAYS)
    _delete_rows(_DEAD_LETTERS, settings.DEAD_LETTER_DAYS)


def _delete_rows(statement: str, days: int) -> None:
    oldest = timezone.now() - timedelta(days=days)
    deleted = BATCH
    with connection.cursor() as cursor:
        while deleted == BATCH:
            cursor.execute(statement, [oldest, BATCH])
            deleted = cursor.rowcount
