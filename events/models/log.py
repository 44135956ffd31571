"""The event log's tables and its counts."""

from __future__ import annotations

from django.db import models

from sources.models import Source


class Event(models.Model):
    """One accepted message, stored as received, never changed: a row of the event log.

    The table is partitioned by day of received_at and written by events.log.writer only.
    """

    id = models.BigAutoField(primary_key=True)
    received_at = models.DateTimeField()
    source = models.ForeignKey(
        Source, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    message_id = models.TextField()
    type = models.TextField()
    event = models.TextField(blank=True)
    user_id = models.TextField(blank=True)
    anonymous_id = models.TextField(blank=True)
    payload = models.TextField()

    class Meta:
        ordering = ["-id"]
        permissions = [("view_personal_data", "Can see personal data")]

    def __str__(self) -> str:
        return f"{self.type} {self.message_id}"


class MinuteCount(models.Model):
    """Accepted events of a source and type in a minute; old minutes are added up to hours, days."""

    source_id = models.BigIntegerField()
    minute = models.DateTimeField(help_text="The minute of received_at.")
    type = models.TextField()
    events = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["minute", "source_id", "type"], name="one_count_a_minute"
            )
        ]

    def __str__(self) -> str:
        return f"{self.events} {self.type} at {self.minute}"


class SdkSeen(models.Model):
    """An SDK that events of a source name in their context, recorded while the log is counted."""

    source_id = models.BigIntegerField()
    name = models.TextField()
    version = models.TextField(blank=True)
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["source_id", "name", "version"], name="one_sdk_of_a_source"
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()


class LogMark(models.Model):
    """A checkpoint of the counts: the number of events per source up to an id of the log."""

    upto_id = models.BigIntegerField(primary_key=True)
    totals = models.JSONField(help_text="Number of events by source.")

    def __str__(self) -> str:
        return f"up to {self.upto_id}"
