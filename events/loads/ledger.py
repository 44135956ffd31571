"""The ledger: accepted = loaded + dead letters + skipped + lost + pending, for each connection.

The counts beside the warehouse's cursor are compared with the log's own counts (log/counts.py). Two
independent counts differ only if an event was lost or counted twice.
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

MAX_AGE = timedelta(days=32)


@dataclass(frozen=True)
class Balance:
    """The counts of one connection, over the events of its source with since < id <= upto."""

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
        counted = self.loaded + self.skipped + self.dead_letters + self.lost + self.pending
        return self.accepted - counted


class StandingPair(NamedTuple):
    """The two standings of a connection between which its events are counted."""

    first: Standing
    newest: Standing


def begin_ledger(connection: Connection, start: int | None = None) -> Standing:
    """Start the counts of a connection after its start, or after the event `start`."""
    standing = _start_standing(connection, start)
    # What the connection never loads: the events up to its start, or dropped before.
    total = log_counts.total_upto(connection.source_id, standing.position)
    standing.accepted = max(total, log_counts.dropped_events(connection.source_id))
    standing.save()
    return standing


def record_standing(connection: Connection, counts: CursorCounts | None, start: int) -> None:
    """Store the counts as a standing; the caller holds the connection's lock.

    Without counts the warehouse has no cursor, and the ledger starts again after the event `start`.
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
    """Store the accepted events up to each standing, before retention drops events."""
    standings = list(Standing.objects.filter(accepted=None).select_related("connection"))
    _fill_accepted(standings)
    for standing in standings:
        Standing.objects.filter(pk=standing.pk, position=standing.position).update(
            accepted=standing.accepted
        )


def delete_old(now: datetime) -> None:
    """Delete old standings, except the start and the newest of each connection."""
    newest = Standing.objects.order_by("connection", "-at").distinct("connection")
    old = Standing.objects.filter(at__lt=now - MAX_AGE, is_start=False)
    old.exclude(pk__in=list(newest.values_list("pk", flat=True))).delete()


def balances(connections: Iterable[Connection], since: datetime | None = None) -> list[Balance]:
    """Balances from the last standing before a time or from the start, in few queries for all."""
    connections = list(connections)
    upto = Event.objects.order_by("-id").values_list("pk", flat=True).first() or 0
    totals = log_counts.totals(upto)
    pairs = _standing_pairs(connections, since)
    _fill_accepted([standing for pair in pairs for standing in pair])
    losses = list(Loss.objects.filter(connection__in=connections))
    return [
        _balance(pair, upto, totals[connection.source_id], losses)
        for connection, pair in zip(connections, pairs, strict=True)
    ]


def _balance(pair: StandingPair, upto: int, total: int, losses: Iterable[Loss]) -> Balance:
    first, newest = pair
    return Balance(
        connection=newest.connection,
        since=first.position,
        since_at=None if first.is_start else first.at,
        upto=upto,
        accepted=total - (first.accepted or 0),
        loaded=newest.loaded - first.loaded,
        skipped=newest.skipped - first.skipped,
        dead_letters=newest.dead_letters - first.dead_letters,
        lost=_lost_events_after(first, losses),
        pending=total - (newest.accepted or 0) - _lost_events_after(newest, losses),
    )


def _standing_pairs(
    connections: Sequence[Connection], since: datetime | None
) -> list[StandingPair]:
    own = Standing.objects.filter(connection=OuterRef("pk"))
    start = own.filter(is_start=True)
    before = own.filter(at__lte=since, is_start=False).order_by("-at") if since else start
    rows = Connection.objects.filter(pk__in=[connection.pk for connection in connections])
    pks = rows.values_list(
        "pk",
        *(Subquery(query.values("pk")[:1]) for query in (before, start, _newest_first(own))),
    )
    pairs = {pk: (before or start, newest) for pk, before, start, newest in pks}
    standings = Standing.objects.in_bulk([pk for pair in pairs.values() for pk in pair if pk])
    return [
        _standing_pair(connection, *(standings.get(pk) for pk in pairs[connection.pk]))
        for connection in connections
    ]


def _standing_pair(
    connection: Connection, first: Standing | None, newest: Standing | None
) -> StandingPair:
    newest = newest or _start_standing(connection)
    pair = StandingPair(first or newest, newest)
    for standing in pair:
        standing.connection = connection
    return pair


def _newest_first(standings: QuerySet[Standing]) -> QuerySet[Standing]:
    """The newest first and the start last, in the order of an index."""
    return standings.order_by("is_start", "-position")


def _start_standing(connection: Connection, start: int | None = None) -> Standing:
    """The standing of a connection that was never loaded."""
    position = (connection.start_position or 0) if start is None else start
    now = timezone.now().replace(second=0, microsecond=0)
    return Standing(connection=connection, at=now, is_start=True, position=position)


def _fill_accepted(standings: Sequence[Standing]) -> None:
    """Set the number of accepted events up to each standing that has none yet."""
    unsettled = [standing for standing in standings if standing.accepted is None]
    places = [(standing.connection.source_id, standing.position) for standing in unsettled]
    for standing, total in zip(unsettled, log_counts.totals_at(places), strict=True):
        dropped = standing.is_start and log_counts.dropped_events(standing.connection.source_id)
        standing.accepted = max(total, dropped)


def _lost_events_after(standing: Standing, losses: Iterable[Loss]) -> int:
    return sum(
        loss.events
        for loss in losses
        if loss.connection_id == standing.connection_id and loss.last_id > standing.position
    )
