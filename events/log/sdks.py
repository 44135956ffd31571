"""Which SDKs the events of each source name, noted while the log is counted: not in the gateway."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
import psycopg

from events.models import SdkSeen

MOST_PER_SOURCE = 20
"""Anybody who has a write key may name anything: of more names the newest stay."""
LONGEST = 60
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
    """Keep what the events with after < id <= upto name; again to no effect."""
    with conn.transaction(), conn.cursor(name="sdks") as cursor:
        cursor.itersize = READ_EVENTS
        cursor.execute(_EVENTS, [after, upto])
        seen = _seen(cursor)
    rows = [(*sdk, first, last) for sdk, (first, last) in sorted(seen.items())]
    if rows:
        conn.cursor().executemany(_NOTE, rows)
        conn.execute(_FORGET, [MOST_PER_SOURCE])


def sdks_by_source(source_pks: Collection[int]) -> dict[int, list[SdkSeen]]:
    """Of each source, the latest first."""
    found: dict[int, list[SdkSeen]] = {pk: [] for pk in source_pks}
    for sdk in SdkSeen.objects.filter(source_id__in=source_pks).order_by("-last_at", "name"):
        found[sdk.source_id].append(sdk)
    return found


def library(payload: str) -> tuple[str, str]:
    """The name and version of an event's context.library; nothing where they are no texts."""
    try:
        context = _decoder.decode(payload).context
    except msgspec.DecodeError:
        return "", ""
    found = context.library if context else None
    return (_storable(found.name), _storable(found.version)) if found else ("", "")


def _storable(text: str | None) -> str:
    return (text or "").replace("\0", "")[:LONGEST]


def _seen(rows: Iterable[tuple[int, datetime, str]]) -> dict[Sdk, tuple[datetime, datetime]]:
    """The first and the last time of each."""
    seen: dict[Sdk, tuple[datetime, datetime]] = {}
    for source_pk, at, payload in rows:
        name, version = library(payload)
        if name:
            sdk = Sdk(source_pk, name, version)
            first, last = seen.get(sdk, (at, at))
            seen[sdk] = (min(first, at), max(last, at))
    return seen
