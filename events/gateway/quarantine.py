"""Keeps refused requests of known sources, within bounds, so that an operator can fix them."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from events.models import Quarantined

_TRIM = """
DELETE FROM events_quarantined
WHERE source_id = %(source)s AND id <= (
    SELECT max(id)
    FROM (
        SELECT
            id,
            row_number() OVER newest AS row_count,
            sum(octet_length(body)) OVER newest AS byte_count
        FROM events_quarantined
        WHERE source_id = %(source)s
        WINDOW newest AS (ORDER BY id DESC)
    ) AS counted
    WHERE row_count > %(rows)s OR byte_count > %(bytes)s
)
"""


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A refused request or a refused event; size is the length of the whole body in bytes."""

    status: int
    reason: str
    body: bytes
    size: int
    circumstances: Mapping[str, Any]


_unchecked_rows: Counter[int] = Counter()
_unchecked_bytes: Counter[int] = Counter()


def keep_entries(
    source_pk: int, received_at: datetime, route: str, entries: Sequence[QuarantineEntry]
) -> None:
    """Store refused requests or events; returns after commit."""
    max_bytes = settings.QUARANTINE_ROW_BYTES
    rows = [
        Quarantined(
            source_id=source_pk,
            received_at=received_at,
            route=route[:100],
            status=entry.status,
            reason=entry.reason,
            body=entry.body[:max_bytes],
            body_bytes=entry.size,
            circumstances=entry.circumstances,
        )
        for entry in entries
    ]
    Quarantined.objects.bulk_create(rows, batch_size=500)
    _unchecked_rows[source_pk] += len(rows)
    _unchecked_bytes[source_pk] += sum(len(row.body) for row in rows)
    # Trimmed when a sixteenth of the bounds is new, since counting costs more than storing.
    if (
        _unchecked_rows[source_pk] * 16 > settings.QUARANTINE_ROWS
        or _unchecked_bytes[source_pk] * 16 > settings.QUARANTINE_BYTES
    ):
        _unchecked_rows[source_pk] = _unchecked_bytes[source_pk] = 0
        trim_source(source_pk)


def trim_source(source_pk: int) -> None:
    """Delete a source's oldest rows until the rest are within the bounds of one source."""
    with connection.cursor() as cursor:
        cursor.execute(
            _TRIM,
            {
                "source": source_pk,
                "rows": settings.QUARANTINE_ROWS,
                "bytes": settings.QUARANTINE_BYTES,
            },
        )


def delete_old() -> int:
    """Delete rows older than RUDDERHUB_QUARANTINE_DAYS; returns their number."""
    oldest = timezone.now() - timedelta(days=settings.QUARANTINE_DAYS)
    deleted, _ = Quarantined.objects.filter(received_at__lt=oldest).delete()
    return deleted


def open_requests(refused: QuerySet[Quarantined]) -> QuerySet[Quarantined]:
    """The requests that were neither discarded nor sent again and accepted."""
    return refused.filter(accepted_at=None, discarded_at=None)


def discard_requests(refused: QuerySet[Quarantined], by: str, note: str) -> int:
    """Mark the open requests as discarded and keep their rows; returns their number."""
    discarded = {"discarded_at": timezone.now(), "discarded_by": by, "note": note}
    return open_requests(refused).update(**discarded, is_waiting=False)


def json_lines(refused: QuerySet[Quarantined]) -> Iterator[str]:
    """One line of JSON per request; a body that is not UTF-8 is in base64."""
    for request in refused.select_related("source").iterator(chunk_size=100):
        body = bytes(request.body)
        try:
            body_member = {"body": body.decode()}
        except UnicodeDecodeError:
            body_member = {"body_base64": b64encode(body).decode()}
        yield (
            json.dumps(
                {
                    "received_at": request.received_at.isoformat(),
                    "source": request.source.name,
                    "route": request.route,
                    "status": request.status,
                    "reason": request.reason,
                    "body_bytes": request.body_bytes,
                    **body_member,
                }
            )
            + "\n"
        )
