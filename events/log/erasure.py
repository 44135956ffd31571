"""What the event log keeps of events that name erased people."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import orjson
from django.db import connection as database
from django.db import transaction

from destinations.models import Connection
from destinations.warehouse.identity.erasure import ErasedIdentifiers, remaining_event
from destinations.warehouse.identity.statements import (
    ANONYMOUS_ID,
    USER_ID,
    Identifier,
    MalformedMergeError,
    Rules,
    statement,
    visible_text,
)
from events.protocol.text import dumps

LINKING_TYPES = ("alias", "merge")
"""Calls that name identifiers elsewhere than in the columns of the log."""

LOGGED = """
SELECT id, received_at, source_id, payload
FROM events_event
WHERE id > %(after)s AND id <= %(upto)s AND source_id = ANY (%(sources)s::bigint[]) AND (
    user_id IN (SELECT unnest(%(users)s::text[]))
    OR anonymous_id IN (SELECT unnest(%(devices)s::text[]))
    OR (type = ANY (%(types)s::text[]) AND (%(reads_all)s OR EXISTS (
        SELECT FROM unnest(%(texts)s::text[]) needle WHERE strpos(payload, needle) > 0
    )))
)
ORDER BY id
"""
"""IN instead of = ANY: for = ANY the planner estimates every value in every partition."""

SOUGHT_AT_MOST = 50
"""Of more texts it is faster to read all linking calls than to look for each in them."""

LOCKED = f"{LOGGED} FOR UPDATE"
"""Two erasures that clear the same event take turns."""

BY_ID = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
"""A fresh partition has no statistics to plan by."""

RECEIVED = "SELECT id, received_at FROM events_event WHERE id = ANY (%s)"

REWRITE = """
UPDATE events_event
SET payload = %s, type = %s, event = %s, user_id = %s, anonymous_id = %s
WHERE id = %s AND received_at = %s
"""

_INTEGER = re.compile("-?[0-9]{1,300}")

Row = tuple[Mapping[str, Any], int, datetime]
"""An event as it may be kept, and the row of the log that it is."""


@dataclass(frozen=True)
class LogErasure:
    """Events of these sources, ids by key, that are of erased people or name some."""

    sources: Mapping[int, str]
    erased: ErasedIdentifiers
    rules: Rules

    def erase(self, after: int, upto: int) -> int:
        """Rewrite those with after < id <= upto; in a transaction."""
        return _rewrite(self._found(LOCKED, after, upto))

    def count(self, after: int, upto: int) -> int:
        return sum(1 for _ in self._found(LOGGED, after, upto))

    def _found(self, query: str, after: int, upto: int) -> Iterator[Row]:
        with database.cursor() as cursor:
            cursor.execute(BY_ID)
        with database.chunked_cursor() as cursor:
            cursor.execute(query, {**self._wanted, "after": after, "upto": upto})
            for number, received_at, source_pk, payload in cursor:
                event = json.loads(payload)
                primary = _primary(event, self.sources[source_pk], self.rules)
                if new := remaining_event(event, primary, self.erased):
                    yield new, number, received_at

    @cached_property
    def _wanted(self) -> dict[str, Any]:
        erased = self.erased
        types = (*LINKING_TYPES, "identify") if self.rules.trait_identifiers else LINKING_TYPES
        texts = sorted({text for value in erased.values for text in json_texts(value)})
        reads_all = len(texts) > SOUGHT_AT_MOST
        return {
            "sources": list(self.sources),
            "users": _spellings(erased.user_ids),
            "devices": _spellings(erased.anonymous_ids),
            "types": list(types),
            "texts": [] if reads_all else texts,
            "reads_all": reads_all,
        }


def rewrite_loaded_events(
    connection: Connection, upto: int, rewritten: Mapping[int, Mapping[str, Any]]
) -> None:
    """Rewrite the log's events that name erased people, once no other connection loads them.

    `upto` is the end of the chunk that was loaded; `rewritten` has the events by id. Where another
    connection is behind, they stay until their day of the log is dropped.
    """
    if not rewritten:
        return
    others = Connection.objects.filter(source=connection.source_id).exclude(pk=connection.pk)
    if others.filter(position__lt=upto).exists():
        return
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(RECEIVED, [list(rewritten)])
        _rewrite((rewritten[number], number, at) for number, at in cursor.fetchall())


def json_texts(value: str) -> set[str]:
    """The ways in which a value stands in JSON."""
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}


def _spellings(values: Iterable[str]) -> list[str]:
    """As the log has them: 12.0 was sent where the identifier is 12."""
    floats = [dumps(float(value)) for value in values if _INTEGER.fullmatch(value)]
    return [*values, *floats]


def _primary(event: Mapping[str, Any], source_id: str, rules: Rules) -> Identifier | None:
    """The primary identifier of the event's statement; without one, its user or device."""
    try:
        stated = statement(event, source_id, rules)
    except MalformedMergeError:
        stated = None
    if stated is not None:
        return stated.primary
    for key, id_type in (("userId", USER_ID), ("anonymousId", ANONYMOUS_ID)):
        if (value := visible_text(event.get(key))) is not None:
            return Identifier(id_type, value)
    return None


def _rewrite(rows: Iterable[Row]) -> int:
    values = [_values(new, number, received_at) for new, number, received_at in rows]
    with database.cursor() as cursor:
        cursor.executemany(REWRITE, values)
    return len(values)


def _values(event: Mapping[str, Any], number: int, received_at: datetime) -> tuple[Any, ...]:
    """payload, type, event, user_id and anonymous_id as the log holds them; the row."""
    kind, name = event.get("type"), event.get("event")
    user_id = visible_text(event.get("userId"))
    anonymous_id = visible_text(event.get("anonymousId"))
    return (
        orjson.dumps(event).decode(),
        str(kind),
        "" if name is None else str(name),
        user_id or "",
        anonymous_id or "",
        number,
        received_at,
    )
