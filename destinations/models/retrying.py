"""The base of models that are retried after failures: connections, erasures and replays."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

LONGEST_WAIT_SECONDS = 300
NO_FAILURE: dict[str, Any] = {"failures": 0, "retry_at": None, "error": ""}
"""The fields of Retrying after a success."""


class Retrying(models.Model):
    """Work that is retried after a failure; the wait doubles with each failure in a row."""

    failures = models.PositiveIntegerField(default=0, editable=False)
    retry_at = models.DateTimeField(null=True, editable=False)
    error = models.TextField(blank=True, editable=False)

    class Meta:
        abstract = True

    def save_fields(self, **fields: Any) -> None:
        """Set these fields and save no others."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.save(update_fields=list(fields))

    def save_failure(self, error: str, **fields: Any) -> None:
        failures = self.failures + 1
        wait_seconds = min(LONGEST_WAIT_SECONDS, 2 ** min(failures, 16))
        retry_at = timezone.now() + timedelta(seconds=wait_seconds)
        self.save_fields(failures=failures, retry_at=retry_at, error=error, **fields)

    def save_success(self, **fields: Any) -> None:
        self.save_fields(**NO_FAILURE, **fields)

    def is_waiting(self, at: datetime) -> bool:
        """Whether its wait after a failure ends later than this time."""
        return self.retry_at is not None and at < self.retry_at
