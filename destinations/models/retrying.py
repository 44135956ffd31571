"""The base of models that are retried after failures: connections, erasures and replays."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

LONGEST_WAIT_SECONDS = 300
NO_FAILURE: dict[str, Any] = {"failures": 0, "retry_at": None, "error": ""}
"""The fields of Retrying after a success."""
RETRY_FIELDS = tuple(NO_FAILURE)


class Retrying(models.Model):
    """Work that is retried after a failure; the wait doubles with each failure in a row.

    The methods only set fields; the caller saves RETRY_FIELDS.
    """

    failures = models.PositiveIntegerField(default=0, editable=False)
    retry_at = models.DateTimeField(null=True, editable=False)
    error = models.TextField(blank=True, editable=False)

    class Meta:
        abstract = True

    def set_failure(self, error: str) -> None:
        self.failures += 1
        wait_seconds = min(LONGEST_WAIT_SECONDS, 2 ** min(self.failures, 16))
        self.retry_at = timezone.now() + timedelta(seconds=wait_seconds)
        self.error = error

    def clear_failure(self) -> None:
        for name, value in NO_FAILURE.items():
            setattr(self, name, value)

    def is_waiting(self, at: datetime) -> bool:
        """Whether its wait after a failure ends later than this time."""
        return self.retry_at is not None and at < self.retry_at
