"""The ledger: accepted = loaded + dead letters + skipped + lost + pending, for each connection.

What the warehouse counted beside its cursor is held against the log's own count (log/counts.py):
two ways that share nothing, so a difference is an event that went astray.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import OuterRef, QuerySet, Subquery
from django.utils import timezone

from destinations.interface import CursorCounts
from destinations.models import Connection
from events.log import counts as log_counts
from events.models import Event, Loss, Standing

KEPT = timedelta(days=32)


@dataclass(frozen=True)
class Balance:
    """Of one connection, over the events of its source with since < id <= upto."""

    connection: Connection
    since: int
    since_at: datetime | None
    upto: int
    accepted: int
    loaded: int
    skipped: int
    dead_letters: int
    lost: int
    pending: int

    @property
    def difference(self) -> int:
        """Events that are in no count; negative if events are counted twice."""
        known = self.loaded + self.skipped + self.dead_letters + self.lost + self.pending
        return self.accepted - known


class StandingPair(NamedTuple):
    """What is counted of a connection: from one standing to its newest."""

    begin_ledger: Standing
    now: Standing


def begin_ledger(connection: Connection, start: int | None = None) -> Standing:
    """The connection answers for the events after its start, or after a later one."""
    standing = _unbegun(connection, start)
    standing.accepted = _before(connection, standing.position)
    standing.save()
    return standing


def record_standing(connection: Connection, counts: CursorCounts | None, start: int) -> None:
    """Keep how the connection stands; the caller holds its lock. None: the warehouse has no cursor.

    Then the counts begin anew, after the event `start`.
    """
    standings = Standing.objects.filter(connection=connection)
    newest = _newest_first(standings).first()
    if counts is None:
        if newest is None or newest.position != start or not newest.is_start:
            standings.delete()
            begin_ledger(connection, start)
        return
    if newest is None:
        newest = begin_ledger(connection)
    if newest.position != counts.position:
        Standing.objects.update_or_create(
            connection=connection,
            at=timezone.now().replace(second=0, microsecond=0),
            is_start=False,
            defaults={
                "position": counts.position,
                "loaded": counts.loaded,
                "skipped": counts.skipped,
                "dead_letters": counts.dead_letters,
                "accepted": None,
            },
        )


def settle_standings() -> None:
    """Fix how many events were accepted up to each standing, before retention drops any."""
    standings = list(Standing.objects.filter(accepted=None).select_related("connection"))
    _count(standings)
    for standing in standings:
        Standing.objects.filter(pk=standing.pk, position=standing.position).update(
            accepted=standing.accepted
        )


def delete_old(now: datetime) -> None:
    """The standings that no range needs; the start and the newest stay."""
    newest = Standing.objects.order_by("connection", "-at").distinct("connection")
    old = Standing.objects.filter(at__lt=now - KEPT, is_start=False)
    old.exclude(pk__in=list(newest.values_list("pk", flat=True))).delete()


def balances(connections: Iterable[Connection], since: datetime | None = None) -> list[Balance]:
    """From the last standing before a time on, or from the start of each connection.

    In a few queries, however many connections there are.
    """
    found = list(connections)
    upto = Event.objects.order_by("-id").values_list("pk", flat=True).first() or 0
    totals = log_counts.totals(upto)
    stretches = _stretches(found, since)
    _count([standing for stretch in stretches for standing in stretch])
    losses = list(Loss.objects.filter(connection__in=found))
    return [
        _balance(stretch, upto, totals[each.source_id], losses)
        for each, stretch in zip(found, stretches, strict=True)
    ]


def _balance(stretch: StandingPair, upto: int, total: int, losses: Iterable[Loss]) -> Balance:
    begin, now = stretch
    return Balance(
        connection=now.connection,
        since=begin.position,
        since_at=None if begin.is_start else begin.at,
        upto=upto,
        accepted=total - (begin.accepted or 0),
        loaded=now.loaded - begin.loaded,
        skipped=now.skipped - begin.skipped,
        dead_letters=now.dead_letters - begin.dead_letters,
        lost=_lost_after(begin, losses),
        pending=total - (now.accepted or 0) - _lost_after(now, losses),
    )


def _stretches(connections: Sequence[Connection], since: datetime | None) -> list[StandingPair]:
    own = Standing.objects.filter(connection=OuterRef("pk"))
    start = own.filter(is_start=True)
    before = own.filter(at__lte=since, is_start=False).order_by("-at") if since else start
    chosen = Connection.objects.filter(pk__in=[each.pk for each in connections]).values_list(
        "pk", *(Subquery(each.values("pk")[:1]) for each in (before, start, _newest_first(own)))
    )
    keys = {pk: (before or start, newest) for pk, before, start, newest in chosen}
    kept = Standing.objects.in_bulk([key for pair in keys.values() for key in pair if key])
    return [_stretch(each, *(kept.get(key) for key in keys[each.pk])) for each in connections]


def _stretch(connection: Connection, begin: Standing | None, now: Standing | None) -> StandingPair:
    now = now or _unbegun(connection)
    found = StandingPair(begin or now, now)
    for standing in found:
        standing.connection = connection
    return found


def _newest_first(standings: QuerySet[Standing]) -> QuerySet[Standing]:
    """The start last; in the order of an index."""
    return standings.order_by("is_start", "-position")


def _unbegun(connection: Connection, start: int | None = None) -> Standing:
    """As a connection stands that was never loaded."""
    position = (connection.start_position or 0) if start is None else start
    now = timezone.now().replace(second=0, microsecond=0)
    return Standing(connection=connection, at=now, is_start=True, position=position)


def _before(connection: Connection, start: int) -> int:
    """Events that are none of the connection's: up to its start, or gone before it."""
    source = connection.source_id
    return max(log_counts.total_upto(source, start), log_counts.dropped_events(source))


def _count(standings: Sequence[Standing]) -> None:
    """Fill in how many events were accepted up to each, where that is not yet fixed."""
    unknown = [each for each in standings if each.accepted is None]
    places = [(each.connection.source_id, each.position) for each in unknown]
    for standing, total in zip(unknown, log_counts.totals_at(places), strict=True):
        is_start, source = standing.is_start, standing.connection.source_id
        standing.accepted = max(total, log_counts.dropped_events(source)) if is_start else total


def _lost_after(standing: Standing, losses: Iterable[Loss]) -> int:
    own = (each for each in losses if each.connection_id == standing.connection_id)
    return sum(each.events for each in own if each.last_id > standing.position)
