"""Erasures, identity changes, identity checks and profile tokens of a destination."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.template.defaultfilters import pluralize
from django.utils import timezone

from destinations.fields import EncryptedJSONField
from destinations.models.destination import Destination
from destinations.models.retrying import Retrying


class ErasureState(models.TextChoices):
    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class ErasureStep(models.TextChoices):
    """The steps in their order: later loads store nothing that the warehouse suppresses."""

    WAREHOUSE = "warehouse", "warehouse"
    LOG = "log", "event log"
    DEAD_LETTERS = "dead_letters", "dead letters"
    QUARANTINE = "quarantine", "quarantine"
    MESSAGES = "messages", "messages"


class Erasure(Retrying):
    """A request to erase identifiers from a destination and the log, and its receipt when done.

    It holds the identifiers until it is done; the receipt holds only their keys.
    """

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="erasures", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    actor = models.CharField(max_length=150, editable=False)
    reason = models.TextField(blank=True, editable=False)
    mode = models.CharField(max_length=10, editable=False)
    keys = models.JSONField(
        default=list, editable=False, help_text="Keys (salted hashes) of the erased identifiers."
    )
    counts = models.JSONField(
        default=dict,
        editable=False,
        help_text="Number of deleted, blanked or cleared rows by table.",
    )
    state = models.CharField(
        max_length=20, choices=ErasureState.choices, default=ErasureState.WAITING, editable=False
    )
    step = models.CharField(
        max_length=20,
        choices=ErasureStep.choices,
        default=ErasureStep.WAREHOUSE,
        editable=False,
        help_text="The current or last step.",
    )
    held = EncryptedJSONField(
        default=dict, editable=False, help_text="The identifiers; empty after the erasure is done."
    )
    after_id = models.BigIntegerField(
        null=True, editable=False, help_text="The id before the first event of the log."
    )
    upto_id = models.BigIntegerField(
        null=True, editable=False, help_text="The last event of the log when the step started."
    )
    position = models.BigIntegerField(
        null=True,
        editable=False,
        help_text="The last event or table row that the step has processed.",
    )

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(state="done") | models.Q(held={}),
                name="a_done_erasure_holds_nothing",
            )
        ]

    def __str__(self) -> str:
        return f"erasure {self.pk} in {self.destination}"

    @property
    def is_done(self) -> bool:
        return self.state == ErasureState.DONE

    @property
    def percent(self) -> int:
        """Progress from 0 to 100: the log, the longest step, counts for 99."""
        if self.is_done:
            return 100
        if self.step not in (ErasureStep.WAREHOUSE, ErasureStep.LOG):
            return 99
        if self.after_id is None or self.upto_id is None or self.position is None:
            return 0
        length = self.upto_id - self.after_id
        return 99 * (self.position - self.after_id) // length if length else 99


class ChangeState(models.TextChoices):
    COUNTING = "counting", "Counting"
    COUNTED = "counted", "Waiting for confirmation"
    CONFIRMED = "confirmed", "Confirmed"
    RUNNING = "doing", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class IdentityChanges(models.QuerySet["IdentityChange"]):
    def awaiting_worker(self) -> IdentityChanges:
        """Changes that a worker has to count, run or give up."""
        return self.filter(
            state__in=[ChangeState.COUNTING, ChangeState.CONFIRMED, ChangeState.RUNNING]
        )

    def deletable(self) -> IdentityChanges:
        """Changes that are over or that nobody has confirmed."""
        return self.exclude(state__in=[ChangeState.CONFIRMED, ChangeState.RUNNING])


class IdentityChange(models.Model):
    """A requested change of a destination's identities, with its preview or result.

    A worker first counts the effect, then runs the change once it is confirmed. The fields form
    and effect may hold personal values.
    """

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="identity_changes", editable=False
    )
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    action = models.CharField(max_length=20, editable=False)
    form = EncryptedJSONField(
        default=dict,
        editable=False,
        help_text="Lists of values by field; empty after the change is done.",
    )
    state = models.CharField(
        max_length=20, choices=ChangeState.choices, default=ChangeState.COUNTING, editable=False
    )
    step = models.CharField(max_length=40, blank=True, editable=False)
    percent = models.PositiveSmallIntegerField(null=True, editable=False)
    effect = EncryptedJSONField(default=dict, editable=False)
    error = models.TextField(blank=True, editable=False)
    profile = models.UUIDField(
        null=True, editable=False, help_text="The profile that the change was requested from."
    )
    erasure = models.ForeignKey(Erasure, on_delete=models.SET_NULL, null=True, editable=False)

    objects = IdentityChanges.as_manager()

    class Meta:
        ordering = ["-id"]
        default_permissions = ()
        constraints = [
            models.CheckConstraint(
                condition=~models.Q(state="done") | models.Q(form={}),
                name="a_done_change_holds_no_form",
            )
        ]

    def __str__(self) -> str:
        return f"change {self.pk} of identities in {self.destination}"

    @property
    def is_over(self) -> bool:
        return self.state in (ChangeState.DONE, ChangeState.FAILED)


class ProfileToken(models.Model):
    """A credential for the profile API of one destination; only its hash is stored."""

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="profile_tokens"
    )
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None


class IdentityCheck(models.Model):
    """The differences between a destination's stored identities and a recomputation of them."""

    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="identity_checks", editable=False
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    differences = models.JSONField(default=list, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        count = len(self.differences)
        return f"{count:,} difference{pluralize(count)} in {self.destination}"
