"""Counts the accepted events and refused requests of each source in the last 24 hours.

The numbers come from the counts per minute, and for the newest events from the end of the log: no
query grows with the log.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Count, Max

from events.log import sdks
from events.log.reader import last_event_times
from events.models import MinuteCount, Quarantined, SdkSeen

HOURS = 24
SEARCHED_EVENTS = 20_000
"""The number of newest events that are searched for the last one of each source."""

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
    """The accepted events and refused requests of one source in the last 24 hours."""

    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    """Accepted events per hour; the last hour ends now."""
    refused: int = 0
    last_at: datetime | None = None
    """The arrival of the newest event; for an older one, the minute, hour or day of its count."""
    sdks: list[SdkSeen] = field(default_factory=list)

    @property
    def accepted(self) -> int:
        return sum(self.hours)

    @property
    def refused_share(self) -> float:
        total = self.accepted + self.refused
        return self.refused / total if total else 0.0


def source_activity(
    source_pks: Collection[int], now: datetime, *, window: int = SEARCHED_EVENTS
) -> dict[int, Activity]:
    since = now - timedelta(hours=HOURS)
    activity = {pk: Activity() for pk in source_pks}
    with connection.cursor() as cursor:
        cursor.execute(_BY_HOUR, {"sources": list(source_pks), "since": since})
        for source_pk, hour, events in cursor.fetchall():
            activity[source_pk].hours[min(hour, HOURS - 1)] += events
    refused = Quarantined.objects.filter(source__in=source_pks, **refused_filter(since))
    for source_pk, count in refused.order_by().values_list("source").annotate(Count("pk")):
        activity[source_pk].refused = count
    for source_pk, at in _last_event_times(source_pks, window).items():
        activity[source_pk].last_at = at
    for source_pk, seen in sdks.sdks_by_source(source_pks).items():
        activity[source_pk].sdks = seen
    return activity


def refused_filter(since: datetime) -> dict[str, Any]:
    """The filter for requests refused since then and not accepted later, also as URL parameters."""
    return {"received_at__gte": since.isoformat(), "accepted_at__isnull": True}


def _last_event_times(source_pks: Collection[int], window: int) -> dict[int, datetime]:
    newest = last_event_times(window)
    quiet = set(source_pks) - newest.keys()
    counted = MinuteCount.objects.filter(source_id__in=quiet).values_list("source_id")
    older = dict(counted.annotate(Max("minute"))) if quiet else {}
    return {pk: at for pk in source_pks if (at := newest.get(pk) or older.get(pk))}
