"""Refused requests, kept with the reason."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from events.workers.errors import fingerprint
from sources.models import Source


class Quarantined(models.Model):
    """A refused request (or event) of a known source, kept with the reason."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="quarantined")
    received_at = models.DateTimeField(default=timezone.now)
    route = models.CharField(max_length=100)
    status = models.PositiveSmallIntegerField()
    reason = models.TextField()
    body = models.BinaryField()
    body_bytes = models.PositiveBigIntegerField(
        help_text="Length of the whole body, which may be more than is kept."
    )
    circumstances = models.JSONField(
        default=dict, help_text="The circumstances of the request that sending it again needs."
    )
    accepted_at = models.DateTimeField(null=True, help_text="When it was sent again and accepted.")
    discarded_at = models.DateTimeField(null=True)
    discarded_by = models.CharField(max_length=150, blank=True)
    note = models.TextField(blank=True, help_text="Reason for discarding it.")
    asked_at = models.DateTimeField(
        null=True, help_text="When the last batch that sends it again was requested."
    )
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    is_waiting = models.BooleanField(
        default=False, db_default=False, help_text="Whether a worker is to send it again."
    )

    class Meta:
        ordering = ["-id"]
        verbose_name = "quarantined request"
        indexes = [
            models.Index(
                fields=["asked_at", "id"],
                condition=~models.Q(asked_at=None),
                name="refused_asked_for",
            ),
            models.Index(
                fields=["asked_at", "id"],
                condition=models.Q(is_waiting=True),
                name="refused_waiting",
            ),
            models.Index(fields=["source", "-id"]),
            models.Index(
                fields=["source", "received_at"],
                condition=models.Q(accepted_at=None),
                name="refused_by_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.route}: {fingerprint(self.reason)}"
