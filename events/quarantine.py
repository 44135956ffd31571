"""What was refused of a known source, kept within bounds so that an operator can repair it."""

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
class Refused:
    """A request, or an event of one, with its reason; size is that of the whole body."""

    status: int
    reason: str
    body: bytes
    size: int
    circumstances: Mapping[str, Any]


_unchecked_rows: Counter[int] = Counter()
_unchecked_bytes: Counter[int] = Counter()


def keep(source_pk: int, received_at: datetime, route: str, refused: Sequence[Refused]) -> None:
    """Store what was refused; returns after commit."""
    most = settings.QUARANTINE_ROW_BYTES
    rows = [
        Quarantined(
            source_id=source_pk,
            received_at=received_at,
            route=route[:100],
            status=item.status,
            reason=item.reason,
            body=item.body[:most],
            body_bytes=item.size,
            circumstances=item.circumstances,
        )
        for item in refused
    ]
    Quarantined.objects.bulk_create(rows, batch_size=500)
    _unchecked_rows[source_pk] += len(rows)
    _unchecked_bytes[source_pk] += sum(len(row.body) for row in rows)
    _trim_now_and_then(source_pk)


def trim(source_pk: int) -> None:
    """Let the oldest of a source go until the rest is within its bounds."""
    with connection.cursor() as cursor:
        cursor.execute(
            _TRIM,
            {
                "source": source_pk,
                "rows": settings.QUARANTINE_ROWS,
                "bytes": settings.QUARANTINE_BYTES,
            },
        )


def forget_old() -> int:
    """Delete what is older than the days of its setting; how many rows that was."""
    oldest = timezone.now() - timedelta(days=settings.QUARANTINE_DAYS)
    deleted, _ = Quarantined.objects.filter(received_at__lt=oldest).delete()
    return deleted


def open_ones(refused: QuerySet[Quarantined]) -> QuerySet[Quarantined]:
    """Neither sent again and accepted, nor discarded."""
    return refused.filter(accepted_at=None, discarded_at=None)


def discard(refused: QuerySet[Quarantined], by: str, note: str) -> int:
    """Take the open ones off the list of what needs a look; how many that was. They are kept."""
    discarded = {"discarded_at": timezone.now(), "discarded_by": by, "note": note}
    return open_ones(refused).update(**discarded, is_waiting=False)


def as_lines(refused: QuerySet[Quarantined]) -> Iterator[str]:
    """A JSON object a line; a body that is no UTF-8 is in base64."""
    for each in refused.select_related("source").iterator(chunk_size=100):
        body = bytes(each.body)
        try:
            told = {"body": body.decode()}
        except UnicodeDecodeError:
            told = {"body_base64": b64encode(body).decode()}
        yield (
            json.dumps(
                {
                    "received_at": each.received_at.isoformat(),
                    "source": each.source.name,
                    "route": each.route,
                    "status": each.status,
                    "reason": each.reason,
                    "body_bytes": each.body_bytes,
                    **told,
                }
            )
            + "\n"
        )


def _trim_now_and_then(source_pk: int) -> None:
    """Counting costs more than keeping: each process looks after a sixteenth of the bounds."""
    if (
        _unchecked_rows[source_pk] * 16 > settings.QUARANTINE_ROWS
        or _unchecked_bytes[source_pk] * 16 > settings.QUARANTINE_BYTES
    ):
        _unchecked_rows[source_pk] = _unchecked_bytes[source_pk] = 0
        trim(source_pk)
