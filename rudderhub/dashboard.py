"""The overview: what is set up, how much comes in, what is behind and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from destinations.models import Connection, Destination, Erasure, ErasureState, IdentityCheck
from events.admin.trace import TABLES, masked_reason
from events.advice import advice
from events.backlog import oldest
from events.counting import by_bin
from events.health import health
from events.latency import latency
from events.ledger import Balance, balances
from events.masking import PERMISSION, masked
from events.models import DeadLetter, LetterState, Load, Loss, Quarantined
from events.rates import head
from rudderhub.chart import chart
from sources.display import label, length, when
from sources.models import Source, WriteKey

NEWEST = 5
ERASURE_BEGINS, ERASURE_ENDS = timedelta(minutes=5), timedelta(hours=1)
"""After the request; later, the overview says that it has not."""
LOADS_LOOKED_AT = 100
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
class Flow:
    """A connection with its part of the ledger."""

    connection: Connection
    balance: Balance
    discards: int
    oldest_at: datetime | None
    """When the oldest event that waits was accepted."""

    @property
    def since(self) -> SafeString | str:
        return when(self.balance.since_at) if self.balance.since_at else "its start"

    @property
    def state(self) -> SafeString:
        found = health(self.connection, self.balance.pending, timezone.now())
        return label(found.word, found.kind)

    @property
    def lag(self) -> str:
        return length(self.oldest_at, timezone.now()) if self.oldest_at else ""


COUNTED = ("accepted", "loaded", "dead_letters", "skipped", "lost", "pending", "difference")


def overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """For DASHBOARD_CALLBACK of unfold; what the user may not view stays out."""
    now, newest = timezone.now(), head()
    chosen = RANGES.get(request.GET.get("range", ""), RANGES["1h"])
    source_pk = _source_pk(request.GET.get("source", ""))
    since = (now - chosen.length).replace(second=0, microsecond=0)
    connections, others = _connections(request, source_pk)
    flows = _flows(connections, since if request.GET.get("range") else None)
    return {
        **context,
        "title": "Overview",
        "ticks": _ticks(now, newest),
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
        "troubles": _alike(_troubles(request, connections)),
        **_received(request, chosen, since, source_pk),
    }


def _source_pk(given: str) -> int | None:
    return int(given) if given.isdecimal() and len(given) < 19 else None  # noqa: PLR2004


def _received(
    request: HttpRequest, chosen: Range, since: datetime, source_pk: int | None
) -> dict[str, Any]:
    if not request.user.has_perm("events.view_event"):
        return {"sees_events": False}
    counts = by_bin(since, chosen.bar, source_pk)
    refused = Quarantined.objects.filter(received_at__gte=since, accepted_at=None)
    if source_pk:
        refused = refused.filter(source_id=source_pk)
    drawn, refusals = chart(counts, since, chosen.bar, chosen.bars), refused.count()
    return {
        "sees_events": True,
        "chart": drawn,
        "accepted": drawn.total,
        "refused": refusals,
        "received": drawn.total + refusals,
        "bar_minutes": chosen.bar // timedelta(minutes=1),
    }


def _connections(request: HttpRequest, source_pk: int | None) -> tuple[list[Connection], int]:
    """The first ones, and how many others there are."""
    if not request.user.has_perm("destinations.view_connection"):
        return [], 0
    found = Connection.objects.select_related("source", "destination").order_by("pk")
    if source_pk:
        found = found.filter(source_id=source_pk)
    return list(found[:MOST_CONNECTIONS]), max(found.count() - MOST_CONNECTIONS, 0)


def _flows(connections: Sequence[Connection], since: datetime | None) -> list[Flow]:
    loads = Load.objects.filter(connection__in=connections)
    if since:
        loads = loads.filter(started_at__gte=since)
    discards = dict(loads.order_by().values_list("connection").annotate(Sum("discards")))
    waits_since = oldest(connections)
    return [
        Flow(each.connection, each, discards.get(pk, 0), waits_since[pk] if each.pending else None)
        for each in balances(connections, since)
        for pk in [each.connection.pk]
    ]


def _ticks(now: datetime, newest: int) -> list[Tick]:
    loaded = Load.objects.filter(events__gt=0)
    resolving = [each.pk for each in Destination.objects.all() if _resolves(each)]
    person = loaded.filter(
        rows__has_any_keys=list(TABLES.values()), connection__destination__in=resolving
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


def _resolves(destination: Destination) -> bool:
    return bool(destination.config.get("resolve_identities", True))


def _troubles(request: HttpRequest, connections: Sequence[Connection]) -> list[Trouble]:
    """Connections that fail now, then the newest refusals."""
    troubles = [_failing(each) for each in connections if each.enabled and each.last_error]
    if request.user.has_perm("destinations.view_identitycheck"):
        checks = IdentityCheck.objects.order_by("destination_id", "-id").distinct("destination_id")
        troubles += [_differing(check) for check in checks if check.differences]
    if request.user.has_perm("destinations.view_erasure"):
        troubles += [_not_erased(each, sees=request.user.has_perm(PERMISSION)) for each in _stuck()]
    if request.user.has_perm("events.view_load"):
        loads = Load.objects.select_related("connection__source", "connection__destination")
        troubles += [_warned(load) for load in loads[:LOADS_LOOKED_AT] if load.warnings]
    if request.user.has_perm("events.view_loss"):
        losses = Loss.objects.select_related("connection__source", "connection__destination")
        troubles += [_lost(loss) for loss in losses[:NEWEST]]
    if request.user.has_perm("events.view_deadletter"):
        letters = (
            DeadLetter.objects.filter(state=LetterState.OPEN)
            .select_related("connection__source", "connection__destination")
            .defer("payload")
        )
        sees = request.user.has_perm(PERMISSION)
        troubles += [_dead(letter, sees=sees) for letter in letters[:NEWEST]]
    if request.user.has_perm("events.view_quarantined"):
        refused = (
            Quarantined.objects.filter(accepted_at=None, discarded_at=None)
            .select_related("source")
            .defer("body")
        )
        troubles += [_refused(each) for each in refused[:NEWEST]]
    return troubles


def _alike(troubles: Sequence[Trouble]) -> list[tuple[Trouble, int]]:
    """Each once, with how many say the same; the first of them is the newest."""
    counts = Counter((each.what, each.why) for each in troubles)
    firsts = {(each.what, each.why): each for each in reversed(troubles)}
    return [(firsts[key], count) for key, count in counts.items()]


def _failing(connection: Connection) -> Trouble:
    return Trouble(
        connection.last_loaded_at,
        f"{connection} is not being loaded",
        connection.last_error,
        f"{advice(connection.last_error).text} It tries again by itself and no event is lost.",
        reverse("admin:destinations_destination_change", args=[connection.destination_id]),
    )


def _differing(check: IdentityCheck) -> Trouble:
    return Trouble(
        check.created_at,
        f"Identities of {check.destination} differ from their links",
        f"{len(check.differences)} differences or more: {check.differences[0]}",
        "manage.py identity_rebuild puts the right ones in place; ids stay the same.",
        reverse("admin:destinations_identitycheck_change", args=[check.pk]),
    )


def _stuck() -> QuerySet[Erasure]:
    """Erasures that failed, that no worker has begun, or that take long."""
    now = timezone.now()
    not_begun = Q(state=ErasureState.WAITING, created_at__lt=now - ERASURE_BEGINS)
    not_ended = Q(state=ErasureState.RUNNING, created_at__lt=now - ERASURE_ENDS)
    found = Erasure.objects.filter(Q(state=ErasureState.FAILED) | not_begun | not_ended)
    return found.select_related("destination").defer("held")[:NEWEST]


def _not_erased(erasure: Erasure, *, sees: bool) -> Trouble:
    why = {
        ErasureState.WAITING: "No worker has begun it.",
        ErasureState.RUNNING: f"It has come to {erasure.percent} % since it was requested.",
        ErasureState.FAILED: erasure.error if sees else masked(erasure.error),
    }
    return Trouble(
        erasure.created_at,
        f"Erasure no. {erasure.pk} in {erasure.destination} is not done",
        why[ErasureState(erasure.state)],
        "It is tried again by itself and goes on where it was. Mend the cause; see that a worker "
        "runs.",
        reverse("admin:destinations_erasure_change", args=[erasure.pk]),
    )


def _warned(load: Load) -> Trouble:
    return Trouble(
        load.finished_at,
        f"A load through {load.connection} went on with a warning",
        load.warnings[-1],
        "Look at the load. Links that were held are under Merges & rules.",
        reverse("admin:events_load_change", args=[load.pk]),
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


def _dead(letter: DeadLetter, *, sees: bool) -> Trouble:
    return Trouble(
        letter.created_at,
        f"An event could not be loaded through {letter.connection}",
        letter.reason if sees else masked_reason(letter),
        "The event is kept as a dead letter; the others went on. Mend the cause and re-run it.",
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
