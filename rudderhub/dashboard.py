"""The overview: what is set up, how much comes in, what is behind and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from destinations.models import Connection
from events.admin.trace import TABLES
from events.models import DeadLetter, Load, Loss, Quarantined
from events.rates import Interval, events_by_interval, head
from sources.display import when
from sources.models import WriteKey

BAR = timedelta(minutes=2)
BARS = 30
NEWEST = 5


@dataclass(frozen=True)
class Tick:
    title: str
    done: bool
    next_step: str
    url: str


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong: when, what in words, and where to act."""

    at: datetime | None
    what: str
    why: str
    advice: str
    url: str

    @property
    def ago(self) -> SafeString:
        return when(self.at)


@dataclass(frozen=True)
class Bar:
    interval: Interval
    percent: int


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For DASHBOARD_CALLBACK of unfold; what the user may not view stays out."""
    now, newest = timezone.now(), head()
    sees_events = request.user.has_perm("events.view_event")
    intervals = events_by_interval(now, BAR, BARS) if sees_events else []
    connections = _connections() if request.user.has_perm("destinations.view_connection") else []
    return {
        **context,
        "title": "Overview",
        "ticks": _ticks(now, newest),
        "bars": _bars(intervals),
        "sees_events": sees_events,
        "hour_events": f"{sum(interval.events for interval in intervals):,}",
        "peak": f"{max((interval.events for interval in intervals), default=0):,}",
        "bar_minutes": BAR.seconds // 60,
        "flows": [(each, _pending(each, newest)) for each in connections],
        "troubles": _troubles(request, connections),
    }


def _ticks(now: datetime, newest: int) -> list[Tick]:
    loaded = Load.objects.filter(events__gt=0)
    person = loaded.filter(rows__has_any_keys=list(TABLES.values())).exclude(
        connection__destination__config__resolve_identities=False
    )
    return [
        Tick(
            "Write key made",
            WriteKey.objects.active(now).exists(),
            "Add a source: its write key comes with it.",
            reverse("admin:sources_source_add"),
        ),
        Tick(
            "Event received",
            newest > 0,
            "Open the source and copy one of its snippets.",
            reverse("admin:sources_source_changelist"),
        ),
        Tick(
            "Row in the warehouse",
            loaded.exists(),
            "Connect the source to a destination."
            if not Connection.objects.exists()
            else "Look at the connection's health.",
            reverse("admin:destinations_connection_changelist"),
        ),
        Tick(
            "Person resolved",
            person.exists(),
            "Send an identify event with a user id.",
            reverse("admin:destinations_destination_changelist"),
        ),
    ]


def _pending(connection: Connection, newest: int) -> str:
    behind = newest - connection.position
    return f"up to {behind:,}" if behind > 0 else ""


def _bars(intervals: Sequence[Interval]) -> list[Bar]:
    peak = max((interval.events for interval in intervals), default=0) or 1
    return [Bar(each, -(-100 * each.events // peak)) for each in intervals]


def _connections() -> list[Connection]:
    return list(Connection.objects.select_related("source", "destination").order_by("pk")[:20])


def _troubles(request: HttpRequest, connections: Sequence[Connection]) -> list[Trouble]:
    """Connections that fail now, then the newest refusals."""
    troubles = [_failing(each) for each in connections if each.enabled and each.last_error]
    if request.user.has_perm("events.view_loss"):
        losses = Loss.objects.select_related("connection__source", "connection__destination")
        troubles += [_lost(loss) for loss in losses[:NEWEST]]
    if request.user.has_perm("events.view_deadletter"):
        letters = DeadLetter.objects.select_related(
            "connection__source", "connection__destination"
        ).defer("payload")
        troubles += [_dead(letter) for letter in letters[:NEWEST]]
    if request.user.has_perm("events.view_quarantined"):
        refused = Quarantined.objects.select_related("source").defer("body")
        troubles += [_refused(each) for each in refused[:NEWEST]]
    return troubles


def _failing(connection: Connection) -> Trouble:
    return Trouble(
        connection.last_loaded_at,
        f"{connection} is not being loaded",
        connection.last_error,
        "It tries again by itself and no event is lost. Test the destination's connection.",
        reverse("admin:destinations_destination_change", args=[connection.destination_id]),
    )


def _lost(loss: Loss) -> Trouble:
    return Trouble(
        loss.created_at,
        f"{loss.events:,} events of {loss.day} are lost for {loss.connection}",
        loss.reason,
        "Retention dropped them before they were loaded. Look at RUDDERHUB_RETENTION_HARD_DAYS "
        "and at what keeps the connection from loading.",
        reverse("admin:events_loss_change", args=[loss.pk]),
    )


def _dead(letter: DeadLetter) -> Trouble:
    return Trouble(
        letter.created_at,
        f"An event could not be loaded through {letter.connection}",
        letter.reason,
        "The event is kept as a dead letter; the others went on.",
        reverse("admin:events_deadletter_change", args=[letter.pk]),
    )


def _refused(refused: Quarantined) -> Trouble:
    return Trouble(
        refused.received_at,
        f"{refused.source} sent something that was refused with {refused.status}",
        refused.reason,
        "The request is kept in quarantine. Correct the sender.",
        reverse("admin:events_quarantined_change", args=[refused.pk]),
    )
