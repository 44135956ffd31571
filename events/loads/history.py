"""Deletes loads and dead letters that are older than their setting allows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from events.models import DeadLetter, Load

BATCH = 10_000


def delete_old() -> None:
    """Delete old loads and dead letters in short transactions."""
    first_load = timezone.now() - timedelta(days=settings.LOAD_HISTORY_DAYS)
    first_letter = timezone.now() - timedelta(days=settings.DEAD_LETTER_DAYS)
    _delete_rows(Load.objects.filter(started_at__lt=first_load))
    _delete_rows(DeadLetter.objects.filter(created_at__lt=first_letter))


def _delete_rows(rows: QuerySet[Any]) -> None:
    batch = rows.model.objects.filter(pk__in=rows.order_by("pk").values("pk")[:BATCH])
    while batch.delete()[0] == BATCH:
        pass
