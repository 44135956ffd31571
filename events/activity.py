"""What each source sent and had refused in the last 24 hours, from counts: never from the log.

Each query reads what a day has at most, or the ids above the newest mark, however long the log is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Max

from events import sdks
from events.models import MinuteCount, Quarantined, SdkSeen
from events.rates import newest_by_source

HOURS = 24
WINDOW = 20_000
"""The newest events that are looked at for the last one of each source; then the counts tell."""

_BY_HOUR = """
SELECT source_id, floor(extract(epoch FROM minute - %(since)s) / 3600)::int, sum(events)::bigint
FROM (
    SELECT source_id, minute, events
    FROM events_minutecount
    WHERE minute >= %(since)s AND source_id = ANY (%(sources)s)
    UNION ALL
    SELECT source_id, received_at, 1
    FROM events_event
    WHERE id > (SELECT coalesce(max(upto_id), 0) FROM events_logmark)
        AND received_at >= %(since)s
        AND source_id = ANY (%(sources)s)
) AS come
GROUP BY 1, 2
"""


@dataclass
class Activity:
    """Of one source."""

    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    """Accepted events by hour, the last one up to now."""
    refused: int = 0
    last_at: datetime | None = None
    """To the minute for a source that is not among the newest events; later to the hour or day."""
    sdks: list[SdkSeen] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return sum(self.hours)

    @property
    def refused_share(self) -> float:
        came = self.accepted + self.refused
        return self.refused / came if came else 0.0


def activity(source_pks: Collection[int], now: datetime) -> dict[int, Activity]:
    since = now - timedelta(hours=HOURS)
    found = {pk: Activity() for pk in source_pks}
    for source_pk, hour, events in _by_hour(source_pks, since):
        found[source_pk].hours[min(hour, HOURS - 1)] += events
    for source_pk, refused in _refused(source_pks, since):
        found[source_pk].refused = refused
    for source_pk, at in _last(source_pks).items():
        found[source_pk].last_at = at
    for source_pk, seen in sdks.seen_by(source_pks).items():
        found[source_pk].sdks = seen
    return found


def refused_in(since: datetime) -> dict[str, Any]:
    """What was refused since then and not accepted later: for a query, and for a list's address."""
    return {"received_at__gte": since.isoformat(), "accepted_at__isnull": True}


def _by_hour(source_pks: Collection[int], since: datetime) -> list[tuple[int, int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(_BY_HOUR, {"sources": list(source_pks), "since": since})
        found: list[tuple[int, int, int]] = cursor.fetchall()
    return found


def _refused(source_pks: Collection[int], since: datetime) -> Iterable[tuple[int, int]]:
    refused = Quarantined.objects.filter(source__in=source_pks, **refused_in(since))
    return refused.order_by().values_list("source").annotate(Count("pk"))


def _last(source_pks: Collection[int]) -> dict[int, datetime]:
    newest = newest_by_source(WINDOW)
    quiet = set(source_pks) - newest.keys()
    counted = MinuteCount.objects.filter(source_id__in=quiet).values_list("source_id")
    older = dict(counted.annotate(Max("minute"))) if quiet else {}
    return {pk: at for pk in source_pks if (at := newest.get(pk) or older.get(pk))}
