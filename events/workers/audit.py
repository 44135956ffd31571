"""The audit log of what users do in the admin."""

from __future__ import annotations

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model


def log_action(user_pk: int | None, record: Model, text: str, flag: int = CHANGE) -> None:
    """Write an entry. user_pk is None only by its type, since every user has logged in."""
    LogEntry.objects.log_actions(user_pk or 0, [record], flag, text, single_object=True)
