"""The overview: first steps, events received, the ledger of connections, and problems."""

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
from events.loads.backlog import oldest_event_times
from events.loads.latency import latency
from events.loads.ledger import Balance, balances
from events.loads.status import UNATTENDED, Health, health
from events.log.activity import refused_filter
from events.log.counts import FOLDS, counts_by_bin
from events.log.reader import head_id
from events.models import Load, Quarantined
from rudderhub.admin.base.display import count_text, duration_text, relative_time, status_label
from rudderhub.admin.base.record_pages import parse_pk
from rudderhub.admin.overview.chart import chart
from rudderhub.admin.overview.first_steps import first_command, first_steps
from rudderhub.admin.overview.problems import Problem, newest_problems
from sources.models import Source

MOST_CONNECTIONS = 20


@dataclass(frozen=True)
class Period:
    """A period that ends now, and the length of the bars of its chart."""

    name: str
    title: str
    length: timedelta
    bar: timedelta

    @property
    def bars(self) -> int:
        return self.length // self.bar + 1

    def beginning(self, now: datetime) -> datetime:
        """A full minute, or a full hour for periods in which counts are kept by the hour."""
        minute = (now - self.length).replace(second=0, microsecond=0)
        return minute.replace(minute=0) if self.length >= FOLDS["hour"] else minute


PERIODS = {
    period.name: period
    for period in (
        Period("10m", "10 minutes", timedelta(minutes=10), timedelta(minutes=1)),
        Period("1h", "hour", timedelta(hours=1), timedelta(minutes=1)),
        Period("6h", "6 hours", timedelta(hours=6), timedelta(minutes=5)),
        Period("24h", "24 hours", timedelta(hours=24), timedelta(minutes=20)),
        Period("7d", "7 days", timedelta(days=7), timedelta(hours=2)),
        Period("30d", "30 days", timedelta(days=30), timedelta(hours=12)),
    )
}


class Cell(NamedTuple):
    """A number of the ledger, and the address of the list of the records that it counts."""

    number: int
    url: str
    note: str = ""


@dataclass(frozen=True)
class Flow:
    """A connection with its line of the ledger."""

    connection: Connection
    balance: Balance
    discards: int
    oldest_at: datetime | None
    """The time at which the oldest pending event was accepted; None if none is pending."""

    @property
    def since(self) -> SafeString | str:
        return relative_time(self.balance.since_at) if self.balance.since_at else "beginning"

    @property
    def health(self) -> Health:
        return health(self.connection, self.balance.pending, timezone.now(), self.oldest_at)

    @property
    def state(self) -> SafeString:
        return status_label(self.health.word, self.health.kind)

    @property
    def lag(self) -> str:
        return duration_text(self.oldest_at, timezone.now()) if self.oldest_at else ""

    @property
    def cells(self) -> list[Cell]:
        """The numbers of the ledger in the order of the columns."""
        events = f"{_list_url('event')}?source={self.connection.source_id}"
        lag = f"for {self.lag}" if self.lag else ""
        own = f"?connection__id__exact={self.connection.pk}"
        since = f"&event_id__gt={self.balance.since}" if self.balance.since else ""
        balance = self.balance
        return [
            Cell(balance.accepted, events),
            Cell(balance.loaded, _list_url("load") + own),
            Cell(balance.dead_letters, f"{_list_url('deadletter')}{own}&state=all{since}"),
            Cell(balance.skipped, f"{events}&status=skipped"),
            Cell(balance.lost, _list_url("loss") + own),
            Cell(balance.pending, f"{events}&status=pending", lag),
        ]


def _list_url(model: str) -> str:
    return reverse(f"admin:events_{model}_changelist")


COUNTED = ("accepted", "loaded", "dead_letters", "skipped", "lost", "pending", "difference")


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """The context for DASHBOARD_CALLBACK of unfold: only what the user may view."""
    now, newest = timezone.now(), head_id()
    chosen = PERIODS.get(request.GET.get("range", ""), PERIODS["1h"])
    source_pk = parse_pk(request.GET.get("source", ""))
    since, steps = chosen.beginning(now), first_steps(now, newest)
    connections, others = _connections(request, source_pk)
    flows = _flows(connections, since if request.GET.get("range") else None)
    return {
        **context,
        "title": "Overview",
        "first_steps": steps,
        "first_command": first_command(request, now, steps),
        "periods": PERIODS.values(),
        "chosen": chosen,
        "sources": Source.objects.values_list("pk", "name"),
        "source_pk": source_pk,
        "flows": flows,
        "sums": {name: sum(getattr(flow.balance, name) for flow in flows) for name in COUNTED},
        "discards": sum(flow.discards for flow in flows),
        "others": others,
        "whole": not request.GET.get("range"),
        "latency": latency([connection.pk for connection in connections], since)
        if connections
        else None,
        "problems": [*_unattended_problem(flows), *newest_problems(request, source_pk)],
        **_received_events(request, chosen, since, source_pk),
    }


def _received_events(
    request: HttpRequest, chosen: Period, since: datetime, source_pk: int | None
) -> dict[str, Any]:
    if not request.user.has_perm("events.view_event"):
        return {"sees_events": False}
    counts = counts_by_bin(since, chosen.bar, source_pk)
    refused = refused_filter(since) | ({"source__id__exact": source_pk} if source_pk else {})
    bars = chart(counts, since, chosen.bar, chosen.bars)
    refusals = Quarantined.objects.filter(**refused).count()
    return {
        "sees_events": True,
        "chart": bars,
        "accepted": bars.total,
        "refused": refusals,
        "refused_query": urlencode({"state": "all", **refused}),
        "received": bars.total + refusals,
        "bar_minutes": chosen.bar // timedelta(minutes=1),
    }


def _connections(request: HttpRequest, source_pk: int | None) -> tuple[list[Connection], int]:
    """The connections that fit on the page, and the number of the others."""
    if not request.user.has_perm("destinations.view_connection"):
        return [], 0
    connections = Connection.objects.select_related("source", "destination").order_by("pk")
    if source_pk:
        connections = connections.filter(source_id=source_pk)
    others = max(connections.count() - MOST_CONNECTIONS, 0)
    return list(connections[:MOST_CONNECTIONS]), others


def _flows(connections: Sequence[Connection], since: datetime | None) -> list[Flow]:
    ledger = balances(connections, since)
    discards, oldest_at = _discard_counts(ledger), oldest_event_times(connections)
    return [
        Flow(
            balance.connection,
            balance,
            discards.get(balance.connection.pk, 0),
            oldest_at[balance.connection.pk] if balance.pending else None,
        )
        for balance in ledger
    ]


def _unattended_problem(flows: Sequence[Flow]) -> list[tuple[Problem, int]]:
    """One problem for all connections that no worker loads; its text names the first of them."""
    waiting = [flow for flow in flows if flow.health.word == UNATTENDED]
    if not waiting:
        return []
    first = waiting[0]
    problem = Problem(
        first.oldest_at,
        "Events are waiting and no worker loads them",
        f"{count_text(first.balance.pending, 'event')} for {first.connection}, for {first.lag}.",
        "Check in Settings that a worker and beat are running and that the broker answers. No "
        "event is lost.",
        reverse("system"),
    )
    return [(problem, len(waiting))]


def _discard_counts(ledger: Sequence[Balance]) -> dict[int, int]:
    """The discarded values, by connection, of the loads that its balance counts."""
    periods = (Q(connection=balance.connection, upto_id__gt=balance.since) for balance in ledger)
    loads = Load.objects.filter(reduce(or_, periods, Q(pk__in=[])), discards__gt=0)
    return dict(loads.order_by().values_list("connection").annotate(Sum("discards")))
