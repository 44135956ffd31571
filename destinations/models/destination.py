"""Where events go: destinations, and the connections through which sources feed them."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from destinations.fields import EncryptedJSONField
from destinations.interface import DestinationError, EventFilter
from destinations.models.retrying import Retrying
from sources.models import Source, new_public_id


class Destination(models.Model):
    """A place that events go to, such as a warehouse: a type and its config."""

    public_id = models.CharField(
        "destination id", max_length=64, unique=True, default=new_public_id, editable=False
    )
    name = models.CharField(max_length=100)
    type = models.CharField(max_length=30, default="POSTGRES")
    enabled = models.BooleanField(default=True)
    config = models.JSONField(default=dict, blank=True)
    secrets = EncryptedJSONField(default=dict, blank=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def named(cls, text: str) -> Destination:
        """The destination with this id, name or number; DestinationError unless there is one."""
        destinations = list(cls.objects.filter(public_id=text) or cls.objects.filter(name=text))
        if not destinations and text.isdecimal():
            destinations = list(cls.objects.filter(pk=int(text)))
        if len(destinations) != 1:
            names = ", ".join(f"{known.public_id} ({known})" for known in cls.objects.all())
            raise DestinationError(
                f"{len(destinations)} destinations are called {text!r}, expected one of: "
                f"{names or 'none'}"
            )
        return destinations[0]

    @classmethod
    def in_use(cls) -> models.QuerySet[Destination]:
        """The enabled destinations with an enabled connection."""
        return cls.objects.filter(enabled=True, connections__enabled=True).distinct()

    def namespaces(self) -> list[str]:
        """The schemas that its connections have loaded into, sorted."""
        loaded = self.connections.exclude(namespace="").values_list("namespace", flat=True)
        return sorted(set(loaded))


class Start(models.TextChoices):
    NOW = "now", "With the events that arrive from now on"
    OLDEST = "oldest", "With the oldest event kept"


class FilterMode(models.TextChoices):
    ALL = "all", "All events"
    ONLY = "only", "Only the events below"
    EXCEPT = "except", "All except the events below"


class Connection(Retrying):
    """The route from one source to one destination, with its cursor."""

    source = models.ForeignKey(Source, on_delete=models.CASCADE, related_name="connections")
    destination = models.ForeignKey(
        Destination, on_delete=models.CASCADE, related_name="connections"
    )
    enabled = models.BooleanField(default=True)
    start = models.CharField(max_length=10, choices=Start.choices, default=Start.OLDEST)
    filter_mode = models.CharField(
        "event filter", max_length=10, choices=FilterMode.choices, default=FilterMode.ALL
    )
    filtered_events = models.JSONField(
        default=list, blank=True, help_text="Names of track events and types of other events."
    )
    start_position = models.BigIntegerField(
        null=True, editable=False, help_text="The event id after which the first load began."
    )
    namespace = models.CharField(
        max_length=63,
        blank=True,
        editable=False,
        help_text="The schema of the tables, fixed at the first load.",
    )
    position = models.BigIntegerField(
        default=0, editable=False, help_text="The cursor as last seen; the warehouse holds it."
    )
    error = models.TextField("last error", blank=True, editable=False, db_column="last_error")
    last_loaded_at = models.DateTimeField(null=True, editable=False)
    synced_at = models.DateTimeField(
        null=True, editable=False, help_text="When the last scheduled load started."
    )
    sync_upto = models.BigIntegerField(
        default=0, editable=False, help_text="The last event of that load or of a requested load."
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["source", "destination"], name="one_connection_a_pair")
        ]

    def __str__(self) -> str:
        return f"{self.source} → {self.destination}"

    @property
    def event_filter(self) -> EventFilter | None:
        """The filter for loads; None if the connection takes all events."""
        if self.filter_mode == FilterMode.ALL:
            return None
        only = self.filter_mode == FilterMode.ONLY
        return EventFilter(frozenset(self.filtered_events), only=only)
