"""Lines of the audit log about what somebody did to a record."""

from __future__ import annotations

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model


def note(user_pk: int | None, record: Model, text: str, flag: int = CHANGE) -> None:
    """The user has logged in: only then there is a key."""
    LogEntry.objects.log_actions(user_pk or 0, [record], flag, text, single_object=True)
