"""Erases people from the event log: rewrites the events that name them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
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

MAX_SEARCHED_TEXTS = 50
"""With more texts, reading all linking calls is faster than a search for each text."""

LOCKED = f"{LOGGED} FOR UPDATE"
"""Two erasures that clear the same event take turns."""

BY_ID = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off"
"""Forces the index, because a new partition has no statistics."""

RECEIVED = "SELECT id, received_at FROM events_event WHERE id = ANY (%s)"

REWRITE = """
UPDATE events_event
SET payload = %s, type = %s, event = %s, user_id = %s, anonymous_id = %s
WHERE id = %s AND received_at = %s
"""

_INTEGER = re.compile("-?[0-9]{1,300}")

Row = tuple[Mapping[str, Any], int, datetime]
"""The event without erased values, and the id and received_at of its row."""


@dataclass(frozen=True)
class LogErasure:
    """The events of some sources (public ids by primary key) that name erased people."""

    sources: Mapping[int, str]
    erased: ErasedIdentifiers
    rules: Rules

    def erase(self, after: int, upto: int) -> int:
        """Rewrite the events with after < id <= upto, in a transaction; returns their number."""
        return _rewrite_rows(self._rewritten_rows(LOCKED, after, upto))

    def count(self, after: int, upto: int) -> int:
        return sum(1 for _ in self._rewritten_rows(LOGGED, after, upto))

    def _rewritten_rows(self, query: str, after: int, upto: int) -> Iterator[Row]:
        with database.cursor() as cursor:
            cursor.execute(BY_ID)
        with database.chunked_cursor() as cursor:
            cursor.execute(query, {**self._query_params, "after": after, "upto": upto})
            for number, received_at, source_pk, payload in cursor:
                event = json.loads(payload)
                primary = _primary_identifier(event, self.sources[source_pk], self.rules)
                if rewritten := remaining_event(event, primary, self.erased):
                    yield rewritten, number, received_at

    @cached_property
    def _query_params(self) -> dict[str, Any]:
        erased = self.erased
        types = (*LINKING_TYPES, "identify") if self.rules.trait_identifiers else LINKING_TYPES
        texts = sorted({text for value in erased.values for text in json_texts(value)})
        reads_all = len(texts) > MAX_SEARCHED_TEXTS
        return {
            "sources": list(self.sources),
            "users": _logged_spellings(erased.user_ids),
            "devices": _logged_spellings(erased.anonymous_ids),
            "types": list(types),
            "texts": [] if reads_all else texts,
            "reads_all": reads_all,
        }


def rewrite_loaded_events(
    connection: Connection, upto: int, rewritten: Mapping[int, Mapping[str, Any]]
) -> None:
    """Rewrite loaded events of the log that name erased people, unless a connection is behind.

    `upto` is the end of the loaded chunk; `rewritten` has the events by id. If another connection
    is behind, they stay until their day of the log is dropped.
    """
    if not rewritten:
        return
    others = Connection.objects.filter(source=connection.source_id).exclude(pk=connection.pk)
    if others.filter(position__lt=upto).exists():
        return
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(RECEIVED, [list(rewritten)])
        _rewrite_rows((rewritten[number], number, at) for number, at in cursor.fetchall())


def json_texts(value: str) -> set[str]:
    """The spellings of a value in JSON: as it is, and escaped with and without ASCII."""
    return {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}


def _logged_spellings(values: Iterable[str]) -> list[str]:
    """The values as the log may have them: also "12.0" for the identifier "12"."""
    floats = [dumps(float(value)) for value in values if _INTEGER.fullmatch(value)]
    return [*values, *floats]


def _primary_identifier(
    event: Mapping[str, Any], source_id: str, rules: Rules
) -> Identifier | None:
    """The primary identifier of the event's statement; without one, its user or device."""
    with suppress(MalformedMergeError):
        if stated := statement(event, source_id, rules):
            return stated.primary
    for key, id_type in (("userId", USER_ID), ("anonymousId", ANONYMOUS_ID)):
        if (value := visible_text(event.get(key))) is not None:
            return Identifier(id_type, value)
    return None


def _rewrite_rows(rows: Iterable[Row]) -> int:
    values = [_row_values(*row) for row in rows]
    with database.cursor() as cursor:
        cursor.executemany(REWRITE, values)
    return len(values)


def _row_values(event: Mapping[str, Any], number: int, received_at: datetime) -> tuple[Any, ...]:
    kind, name = event.get("type"), event.get("event")
    return (
        orjson.dumps(event).decode(),
        str(kind),
        "" if name is None else str(name),
        visible_text(event.get("userId")) or "",
        visible_text(event.get("anonymousId")) or "",
        number,
        received_at,
    )
