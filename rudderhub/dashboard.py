"""The overview: what is set up, how much comes in, what is behind and what went wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.db.models import Q, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from destinations.models import Connection
from events.activity import refused_filter
from events.backlog import oldest
from events.counting import FOLDS, by_bin
from events.health import UNATTENDED, Health, health
from events.latency import latency
from events.ledger import Balance, balances
from events.models import Load, Quarantined
from events.rates import head
from events.text import parse_pk
from rudderhub import first_steps
from rudderhub.chart import chart
from rudderhub.troubles import Trouble, troubles
from sources.display import counted, label, length, when
from sources.models import Source

MOST_CONNECTIONS = 20


@dataclass(frozen=True)
class Range:
    """A stretch of time up to now, and the length of the bars that show it."""

    name: str
    title: str
    length: timedelta
    bar: timedelta

    @property
    def bars(self) -> int:
        return self.length // self.bar + 1

    def begin(self, now: datetime) -> datetime:
        """The beginning of a minute; of an hour where older counts are kept by the hour."""
        then = (now - self.length).replace(second=0, microsecond=0)
        return then.replace(minute=0) if self.length >= FOLDS["hour"] else then


RANGES = {
    found.name: found
    for found in (
        Range("10m", "10 minutes", timedelta(minutes=10), timedelta(minutes=1)),
        Range("1h", "hour", timedelta(hours=1), timedelta(minutes=1)),
        Range("6h", "6 hours", timedelta(hours=6), timedelta(minutes=5)),
        Range("24h", "24 hours", timedelta(hours=24), timedelta(minutes=20)),
        Range("7d", "7 days", timedelta(days=7), timedelta(hours=2)),
        Range("30d", "30 days", timedelta(days=30), timedelta(hours=12)),
    )
}


class Cell(NamedTuple):
    """A number, and the list of what it counts."""

    number: int
    url: str
    note: str = ""


@dataclass(frozen=True)
class Flow:
    """A connection with its part of the ledger."""

    connection: Connection
    balance: Balance
    discards: int
    oldest_at: datetime | None
    """When the oldest event that waits was accepted."""

    @property
    def since(self) -> SafeString | str:
        return when(self.balance.since_at) if self.balance.since_at else "beginning"

    @property
    def health(self) -> Health:
        return health(self.connection, self.balance.pending, timezone.now(), self.oldest_at)

    @property
    def state(self) -> SafeString:
        return label(self.health.word, self.health.kind)

    @property
    def lag(self) -> str:
        return length(self.oldest_at, timezone.now()) if self.oldest_at else ""

    @property
    def cells(self) -> list[Cell]:
        """What adds up, in the order of the columns."""
        events = f"{_list('event')}?source={self.connection.source_id}"
        own = f"?connection__id__exact={self.connection.pk}"
        since = f"&event_id__gt={self.balance.since}" if self.balance.since else ""
        found = self.balance
        return [
            Cell(found.accepted, events),
            Cell(found.loaded, _list("load") + own),
            Cell(found.dead_letters, f"{_list('deadletter')}{own}&state=all{since}"),
            Cell(found.skipped, f"{events}&status=skipped"),
            Cell(found.lost, _list("loss") + own),
            Cell(found.pending, f"{events}&status=pending", f"for {self.lag}" if self.lag else ""),
        ]


def _list(model: str) -> str:
    return reverse(f"admin:events_{model}_changelist")


COUNTED = ("accepted", "loaded", "dead_letters", "skipped", "lost", "pending", "difference")


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For DASHBOARD_CALLBACK of unfold; what the user may not view stays out."""
    now, newest = timezone.now(), head()
    chosen = RANGES.get(request.GET.get("range", ""), RANGES["1h"])
    source_pk = parse_pk(request.GET.get("source", ""))
    since, steps = chosen.begin(now), first_steps.ticks(now, newest)
    connections, others = _connections(request, source_pk)
    flows = _flows(connections, since if request.GET.get("range") else None)
    return {
        **context,
        "title": "Overview",
        "ticks": steps,
        "paste": first_steps.paste(request, now, steps),
        "ranges": RANGES.values(),
        "chosen": chosen,
        "sources": Source.objects.values_list("pk", "name"),
        "source_pk": source_pk,
        "flows": flows,
        "sums": {name: sum(getattr(each.balance, name) for each in flows) for name in COUNTED},
        "discards": sum(each.discards for each in flows),
        "others": others,
        "whole": not request.GET.get("range"),
        "speed": latency([each.pk for each in connections], since) if connections else None,
        "troubles": [*_unattended(flows), *troubles(request, source_pk)],
        **_received(request, chosen, since, source_pk),
    }


def _received(
    request: HttpRequest, chosen: Range, since: datetime, source_pk: int | None
) -> dict[str, Any]:
    if not request.user.has_perm("events.view_event"):
        return {"sees_events": False}
    counts = by_bin(since, chosen.bar, source_pk)
    wanted = _refused_since(since, source_pk)
    drawn = chart(counts, since, chosen.bar, chosen.bars)
    refusals = Quarantined.objects.filter(**wanted).count()
    return {
        "sees_events": True,
        "chart": drawn,
        "accepted": drawn.total,
        "refused": refusals,
        "refused_query": urlencode({"state": "all", **wanted}),
        "received": drawn.total + refusals,
        "bar_minutes": chosen.bar // timedelta(minutes=1),
    }


def _refused_since(since: datetime, source_pk: int | None) -> dict[str, Any]:
    return refused_filter(since) | ({"source__id__exact": source_pk} if source_pk else {})


def _connections(request: HttpRequest, source_pk: int | None) -> tuple[list[Connection], int]:
    """The first ones, and how many others there are."""
    if not request.user.has_perm("destinations.view_connection"):
        return [], 0
    found = Connection.objects.select_related("source", "destination").order_by("pk")
    if source_pk:
        found = found.filter(source_id=source_pk)
    return list(found[:MOST_CONNECTIONS]), max(found.count() - MOST_CONNECTIONS, 0)


def _flows(connections: Sequence[Connection], since: datetime | None) -> list[Flow]:
    found = balances(connections, since)
    discards, waits_since = _discards(found), oldest(connections)
    return [
        Flow(each.connection, each, discards.get(pk, 0), waits_since[pk] if each.pending else None)
        for each in found
        for pk in [each.connection.pk]
    ]


def _unattended(flows: Sequence[Flow]) -> list[tuple[Trouble, int]]:
    """That no worker comes, once for all connections; the first of them is named."""
    waiting = [flow for flow in flows if flow.health.word == UNATTENDED]
    if not waiting:
        return []
    first = waiting[0]
    trouble = Trouble(
        first.oldest_at,
        "Events are waiting and no worker loads them",
        f"{counted(first.balance.pending, 'event')} for {first.connection}, for {first.lag}.",
        "Check in Settings that a worker and beat are running and that the broker answers. No "
        "event is lost.",
        reverse("system"),
    )
    return [(trouble, len(waiting))]


def _discards(found: Sequence[Balance]) -> dict[int, int]:
    """Of the loads that each balance counts."""
    stretches = (Q(connection=each.connection, upto_id__gt=each.since) for each in found)
    loads = Load.objects.filter(reduce(or_, stretches, Q(pk__in=[])), discards__gt=0)
    return dict(loads.order_by().values_list("connection").annotate(Sum("discards")))
