"""Loads, dead letters, losses, replays and standings of connections."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import Any

from django.db import models
from django.template.defaultfilters import pluralize
from django.utils import timezone

from destinations.interface import LoadResult, PreparedChunk
from destinations.models import Connection, Retrying
from events.workers.errors import fingerprint


class LoadCounts(models.Model):
    """The counts of the chunks that a load or a replay has committed."""

    events = models.PositiveBigIntegerField(default=0)
    skipped = models.PositiveBigIntegerField(default=0)
    dead_letters = models.PositiveBigIntegerField(default=0)
    discards = models.PositiveBigIntegerField(default=0)
    skip_reasons = models.JSONField(default=dict, help_text="Events skipped, by reason.")
    warnings = models.JSONField(default=list, help_text="Warnings of the destination.")

    class Meta:
        abstract = True

    def counts_with(self, prepared: PreparedChunk, result: LoadResult) -> dict[str, Any]:
        """By field, the counts including those of a further chunk."""
        return {
            "events": self.events + result.loaded,
            "skipped": self.skipped + result.skipped.total(),
            "dead_letters": self.dead_letters + len(prepared.dead_letters),
            "discards": self.discards + result.discards,
            "skip_reasons": dict(Counter(self.skip_reasons) + result.skipped),
            "warnings": [*self.warnings, *result.warnings],
        }


class LoadState(models.TextChoices):
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    WAITING = "waiting", "Waiting: the destination was unavailable"
    FAILED = "failed", "Failed"


class Load(LoadCounts):
    """One run that loads the log through a connection; kept as history."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="loads")
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    state = models.CharField(max_length=20, choices=LoadState.choices, default=LoadState.RUNNING)
    after_id = models.BigIntegerField(help_text="The cursor at the start of the run.")
    upto_id = models.BigIntegerField(help_text="The cursor that the run has reached.")
    rows = models.JSONField(default=dict, help_text="Rows written, by table.")
    repeated = models.JSONField(
        default=dict, help_text="Rows that were sent more than once or already existed, by table."
    )
    discarded = models.JSONField(default=dict, help_text="Discards by table.")
    added = models.JSONField(
        default=dict, help_text="New columns by table; an empty list means a new table."
    )
    error = models.TextField(blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["connection", "-id"])]

    def __str__(self) -> str:
        return f"load {self.pk} of {self.connection}"


class LetterState(models.TextChoices):
    OPEN = "open", "Open"
    LOADED = "loaded", "Loaded since"
    DISCARDED = "discarded", "Discarded"


class DeadLetter(models.Model):
    """An event that a connection could not load, with its reason and its present state."""

    connection = models.ForeignKey(
        Connection, on_delete=models.CASCADE, related_name="dead_letters"
    )
    event_id = models.BigIntegerField()
    message_id = models.TextField()
    reason = models.TextField()
    payload = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)
    kind = models.TextField(blank=True, help_text="The reason without its values.")
    attempts = models.PositiveIntegerField(default=1)
    tried_at = models.DateTimeField(default=timezone.now, help_text="The last attempt.")
    replay = models.ForeignKey(
        "Replay", null=True, on_delete=models.SET_NULL, related_name="letters"
    )
    state = models.CharField(max_length=20, choices=LetterState.choices, default=LetterState.OPEN)
    closed_at = models.DateTimeField(null=True, help_text="When it was loaded or discarded.")
    closed_by = models.CharField(max_length=150, blank=True)
    note = models.TextField(blank=True, help_text="Reason for discarding it.")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "event_id"], name="one_dead_letter_an_event"
            )
        ]
        indexes = [
            models.Index(
                fields=["connection", "kind"],
                condition=models.Q(state="open"),
                name="open_dead_letters_alike",
            )
        ]

    def __str__(self) -> str:
        return f"{self.message_id}: {fingerprint(self.reason)}"


class Loss(models.Model):
    """Events of a day that retention dropped before a connection had loaded them."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="losses")
    day = models.DateField()
    events = models.PositiveBigIntegerField()
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    reason = models.TextField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "losses"
        constraints = [models.UniqueConstraint(fields=["connection", "day"], name="one_loss_a_day")]

    def __str__(self) -> str:
        return f"{self.events:,} event{pluralize(self.events)} of {self.day} for {self.connection}"


class ReplayState(models.TextChoices):
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    CANCELLED = "cancelled", "Cancelled"


def new_cursor_id() -> int:
    """A random number, which no restored database repeats; negative, unlike a connection's key."""
    return -1 - secrets.randbelow(2**62)


class Replay(Retrying, LoadCounts):
    """A run that loads events of a connection again; its own cursor lets loads continue."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="replays")
    cursor_id = models.BigIntegerField(unique=True, default=new_cursor_id, editable=False)
    since = models.DateTimeField(
        null=True, help_text="The first received_at; null for the oldest event kept."
    )
    after_id = models.BigIntegerField(help_text="The cursor before the first event.")
    upto_id = models.BigIntegerField(help_text="The id of the last event.")
    position = models.BigIntegerField(help_text="The cursor as last seen; the warehouse holds it.")
    expected = models.PositiveBigIntegerField(
        null=True, help_text="Number of events to load; null if counting took too long."
    )
    only_dead_letters = models.BooleanField(
        default=False, help_text="Whether it re-runs dead letters from their stored events."
    )
    state = models.CharField(
        max_length=20, choices=ReplayState.choices, default=ReplayState.RUNNING
    )
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["connection"],
                condition=models.Q(state="running"),
                name="one_running_replay_a_connection",
            )
        ]

    def __str__(self) -> str:
        return f"replay {self.pk} of {self.connection}"

    @property
    def percent(self) -> int:
        """The percentage of its dead letters, or of its id range, which includes other sources."""
        if self.only_dead_letters:
            return 100 * (self.events + self.skipped + self.dead_letters) // (self.expected or 1)
        length = self.upto_id - self.after_id
        return 100 * (self.position - self.after_id) // length if length else 100


class Standing(models.Model):
    """A checkpoint of a connection: its cursor and counts in the warehouse at a certain time."""

    connection = models.ForeignKey(Connection, on_delete=models.CASCADE, related_name="standings")
    at = models.DateTimeField(help_text="Only the newest per minute is kept.")
    is_start = models.BooleanField(default=False)
    position = models.BigIntegerField()
    loaded = models.BigIntegerField(default=0)
    skipped = models.BigIntegerField(default=0)
    dead_letters = models.BigIntegerField(default=0)
    accepted = models.BigIntegerField(
        null=True, help_text="Number of events that the source had sent up to the cursor."
    )

    class Meta:
        ordering = ["connection", "-at"]
        constraints = [
            models.UniqueConstraint(
                fields=["connection", "at", "is_start"], name="one_standing_a_minute"
            )
        ]
        indexes = [
            models.Index(fields=["connection", "is_start", "-position"], name="newest_standing")
        ]

    def __str__(self) -> str:
        return f"{self.connection} at {self.position}"
