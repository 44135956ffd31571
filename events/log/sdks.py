"""The SDKs that the events of each source name, recorded while the log is counted."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg

from events.models import SdkSeen

MAX_PER_SOURCE = 20
"""The newest names stay, because a sender may name any number of SDKs."""
MAX_LENGTH = 60
READ_EVENTS = 1_000

_EVENTS = """
SELECT source_id, received_at, payload
FROM events_event
WHERE id > %s AND id <= %s
"""

_NOTE = """
INSERT INTO events_sdkseen (source_id, name, version, first_at, last_at)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (source_id, name, version)
DO UPDATE SET
    first_at = least(events_sdkseen.first_at, excluded.first_at),
    last_at = greatest(events_sdkseen.last_at, excluded.last_at)
"""

_FORGET = """
DELETE FROM events_sdkseen
WHERE id IN (
    SELECT id
    FROM (
        SELECT id, row_number() OVER newest AS place
        FROM events_sdkseen
        WINDOW newest AS (PARTITION BY source_id ORDER BY last_at DESC, id DESC)
    ) AS placed
    WHERE place > %s
) OR source_id NOT IN (SELECT id FROM sources_source)
"""


class _Library(msgspec.Struct):
    name: str | None = None
    version: str | None = None


class _Context(msgspec.Struct):
    library: _Library | None = None


class _Event(msgspec.Struct):
    context: _Context | None = None


class Sdk(NamedTuple):
    source_id: int
    name: str
    version: str


_decoder = msgspec.json.Decoder(_Event)


def record_sdks(conn: psycopg.Connection[Any], after: int, upto: int) -> None:
    """Record the SDKs of the events with after < id <= upto; it may run twice."""
    times: dict[Sdk, tuple[datetime, datetime]] = {}
    with conn.transaction(), conn.cursor(name="sdks") as cursor:
        cursor.itersize = READ_EVENTS
        cursor.execute(_EVENTS, [after, upto])
        for source_pk, at, payload in cursor:
            name, version = library(payload)
            if name:
                sdk = Sdk(source_pk, name, version)
                first, last = times.get(sdk, (at, at))
                times[sdk] = (min(first, at), max(last, at))
    rows = [(*sdk, first, last) for sdk, (first, last) in sorted(times.items())]
    if rows:
        conn.cursor().executemany(_NOTE, rows)
        conn.execute(_FORGET, [MAX_PER_SOURCE])


def sdks_by_source(source_pks: Collection[int]) -> dict[int, list[SdkSeen]]:
    """The SDKs of each source, the last used first."""
    by_source: dict[int, list[SdkSeen]] = {pk: [] for pk in source_pks}
    for sdk in SdkSeen.objects.filter(source_id__in=source_pks).order_by("-last_at", "name"):
        by_source[sdk.source_id].append(sdk)
    return by_source


def library(payload: str) -> tuple[str, str]:
    """The name and version of an event's context.library; empty if they are not texts."""
    try:
        context = _decoder.decode(payload).context
    except msgspec.DecodeError:
        return "", ""
    sdk = context.library if context else None
    return (_stored_text(sdk.name), _stored_text(sdk.version)) if sdk else ("", "")


def _stored_text(text: str | None) -> str:
    return (text or "").replace("\0", "")[:MAX_LENGTH]
