"""The ledger: accepted = loaded + dead letters + skipped + lost + pending, for each connection.

What the warehouse counted beside its cursor is held against the log's own count (counting.py):
two ways that share nothing, so a difference is an event that went astray.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet, Sum
from django.utils import timezone

from destinations.interface import CursorCounts
from destinations.models import Connection
from events import counting
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
        """Events that nobody accounts for; less than nothing: accounted for twice."""
        known = self.loaded + self.skipped + self.dead_letters + self.lost + self.pending
        return self.accepted - known


def begin(connection: Connection, start: int | None = None) -> Standing:
    """The connection answers for the events after its start, or after a later one."""
    standing = _unbegun(connection, start)
    standing.accepted = _before(connection, standing.position)
    standing.save()
    return standing


def note(connection: Connection, counts: CursorCounts | None, start: int) -> None:
    """Keep how the connection stands; the caller holds its lock. None: the warehouse has no cursor.

    Then the counts begin anew, after the event `start`.
    """
    standings = Standing.objects.filter(connection=connection)
    newest = _newest(standings)
    if counts is None:
        if newest is None or newest.position != start or not newest.is_start:
            standings.delete()
            begin(connection, start)
        return
    if newest is None:
        newest = begin(connection)
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


def settle() -> None:
    """Fix how many events were accepted up to each standing, before retention drops any."""
    for standing in Standing.objects.filter(accepted=None).select_related("connection"):
        accepted = _accepted(standing)
        Standing.objects.filter(pk=standing.pk, position=standing.position).update(
            accepted=accepted
        )


def forget_old(now: datetime) -> None:
    """The standings that no range needs; the start and the newest stay."""
    newest = Standing.objects.order_by("connection", "-at").distinct("connection")
    old = Standing.objects.filter(at__lt=now - KEPT, is_start=False)
    old.exclude(pk__in=list(newest.values_list("pk", flat=True))).delete()


def balances(connections: Iterable[Connection], since: datetime | None = None) -> list[Balance]:
    """From the last standing before a time on, or from the start of each connection."""
    upto = Event.objects.order_by("-id").values_list("pk", flat=True).first() or 0
    totals = counting.totals(upto)
    return [_balance(each, since, upto, totals[each.source_id]) for each in connections]


def _balance(connection: Connection, since: datetime | None, upto: int, total: int) -> Balance:
    standings = Standing.objects.filter(connection=connection)
    now = _newest(standings) or _unbegun(connection)
    begin = _from(standings, since) or now
    accepted_upto, accepted_before = _accepted(now), _accepted(begin)
    losses = Loss.objects.filter(connection=connection, last_id__gt=begin.position)
    lost_ahead = _lost(losses.filter(last_id__gt=now.position))
    return Balance(
        connection=connection,
        since=begin.position,
        since_at=None if begin.is_start else begin.at,
        upto=upto,
        accepted=total - accepted_before,
        loaded=now.loaded - begin.loaded,
        skipped=now.skipped - begin.skipped,
        dead_letters=now.dead_letters - begin.dead_letters,
        lost=_lost(losses),
        pending=total - accepted_upto - lost_ahead,
    )


def _from(standings: QuerySet[Standing], since: datetime | None) -> Standing | None:
    start = standings.filter(is_start=True).first()
    if since is None:
        return start
    return standings.filter(at__lte=since, is_start=False).order_by("at").last() or start


def _newest(standings: QuerySet[Standing]) -> Standing | None:
    """The start only while there is no other; read from the end of an index."""
    return standings.order_by("is_start", "-position").first()


def _unbegun(connection: Connection, start: int | None = None) -> Standing:
    """As a connection stands that was never loaded."""
    position = (connection.start_position or 0) if start is None else start
    now = timezone.now().replace(second=0, microsecond=0)
    return Standing(connection=connection, at=now, is_start=True, position=position)


def _before(connection: Connection, start: int) -> int:
    """Events that are none of the connection's: up to its start, or gone before it."""
    source = connection.source_id
    return max(counting.total_upto(source, start), counting.dropped(source))


def _accepted(standing: Standing) -> int:
    if standing.accepted is not None:
        return standing.accepted
    if standing.is_start:
        return _before(standing.connection, standing.position)
    return counting.total_upto(standing.connection.source_id, standing.position)


def _lost(losses: QuerySet[Loss]) -> int:
    return losses.aggregate(events=Sum("events"))["events"] or 0


def difference(found: Sequence[Balance]) -> int:
    return sum(abs(balance.difference) for balance in found)
