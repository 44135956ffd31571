"""The time between the acceptance of events and the end of their load."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

_QUERY = """
SELECT percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds)
FROM (
    SELECT extract(epoch FROM load.finished_at - event.received_at)::float8 AS seconds
    FROM (
        SELECT l.after_id, l.upto_id, l.finished_at, c.source_id
        FROM events_load l JOIN destinations_connection c ON c.id = l.connection_id
        WHERE l.connection_id = ANY (%(connections)s)
            AND l.started_at >= %(since)s
            AND l.events > 0
            AND l.finished_at IS NOT NULL
        ORDER BY l.id DESC
        LIMIT 100
    ) AS load
    CROSS JOIN LATERAL (
        SELECT received_at
        FROM events_event e
        WHERE e.id > load.after_id AND e.id <= load.upto_id AND e.source_id = load.source_id
        ORDER BY e.id DESC
        LIMIT 20
    ) AS event
) AS taken
"""


class Latency(NamedTuple):
    median: float
    p95: float


def latency(connection_pks: Sequence[int], since: datetime) -> Latency | None:
    """The seconds of the newest events of the newest loads; None if no load has ended since."""
    with connection.cursor() as cursor:
        cursor.execute(_QUERY, {"connections": list(connection_pks), "since": since})
        (percentiles,) = cursor.fetchone()
    return Latency(*percentiles) if percentiles else None
