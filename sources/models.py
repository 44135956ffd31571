"""Sources and their write keys."""

from __future__ import annotations

import secrets
from datetime import datetime

from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone


def new_public_id() -> str:
    """An unguessable id of 24 characters (144 random bits), public to senders and warehouses."""
    return secrets.token_urlsafe(18)


def new_write_key() -> str:
    return secrets.token_urlsafe(21)


class SourceType(models.TextChoices):
    """RudderStack's names, because the column context_source_type holds them."""

    JAVASCRIPT = "Javascript", "Website (JavaScript)"
    ANDROID = "Android", "Android"
    IOS = "iOS", "iOS"
    REACT_NATIVE = "ReactNative", "React Native"
    FLUTTER = "Flutter", "Flutter"
    NODE = "Node", "Node.js"
    PYTHON = "Python", "Python"
    HTTP = "HTTP", "HTTP API (any server)"
    AMP = "AMP", "AMP pages"
    CLOUD = "Cloud", "Cloud app (extract)"
    WEBHOOK = "Webhook", "Webhook"


class OnInvalidEvent(models.TextChoices):
    REJECT = "reject", "Refuse the whole request"
    QUARANTINE = "quarantine", "Accept the good events, quarantine the bad ones"


class Source(models.Model):
    """A site, app or server that sends events."""

    public_id = models.CharField(
        "source id", max_length=64, unique=True, default=new_public_id, editable=False
    )
    name = models.CharField(max_length=100)
    type = models.CharField(
        max_length=30, choices=SourceType.choices, default=SourceType.JAVASCRIPT
    )
    enabled = models.BooleanField(
        default=True, help_text="Requests to a disabled source get a 404. Its data is kept."
    )
    on_invalid_event = models.CharField(
        "on an invalid event",
        max_length=20,
        choices=OnInvalidEvent.choices,
        default=OnInvalidEvent.REJECT,
        help_text="Choose quarantine for rudder-sdk-node: a 4xx response can crash its process.",
    )
    max_event_bytes = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Empty: RUDDERHUB_MAX_EVENT_BYTES of the server.",
    )
    max_body_bytes = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Empty: RUDDERHUB_MAX_BODY_BYTES of the server.",
    )
    rate_limit_requests = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="Maximum requests per window. Empty: no limit.",
    )
    rate_limit_window_seconds = models.PositiveIntegerField(
        default=60, validators=[MinValueValidator(1)]
    )
    allowed_origins = models.JSONField(
        default=list,
        blank=True,
        help_text='Browser origins that can send, such as ["https://shop.example"]. Empty: all.',
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def category(self) -> str:
        """RudderStack's source category, on which the transform depends: cloud, webhook or ""."""
        return {SourceType.CLOUD: "cloud", SourceType.WEBHOOK: "webhook"}.get(
            SourceType(self.type), ""
        )


class WriteKeyQuerySet(models.QuerySet["WriteKey"]):
    def active(self, at: datetime) -> WriteKeyQuerySet:
        return self.filter(Q(revoked_at=None) | Q(revoked_at__gt=at))


class WriteKey(models.Model):
    """A source's public credential; several are active while one is being rotated."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="write_keys")
    key = models.CharField(max_length=64, unique=True, default=new_write_key, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    revoked_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text=(
            "The key is refused from this time on. With a future time, both keys work until then."
        ),
    )
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = WriteKeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return f"{self.key[:6]}…"

    def is_active(self, at: datetime) -> bool:
        return self.revoked_at is None or self.revoked_at > at

    def revoke(self, at: datetime) -> None:
        self.revoked_at = at
        self.save(update_fields=["revoked_at"])

    def rotate(self, old_key_until: datetime) -> WriteKey | None:
        """Create a second key; this one works until the given time.

        Returns None if this one has been rotated or revoked meanwhile.
        """
        with transaction.atomic():
            unrevoked = WriteKey.objects.filter(pk=self.pk, revoked_at=None)
            if not unrevoked.update(revoked_at=old_key_until):
                return None
            return WriteKey.objects.create(source=self.source)
