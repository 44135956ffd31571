"""Erase people everywhere: warehouse, event log, dead letters and quarantine."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, quote_plus

import orjson
from django.db import connection, transaction
from django.utils import timezone

from destinations.models import Destination, Erasure
from destinations.postgres import erase, identity
from destinations.warehouse.erasure import DELETE, Erased, cleared, husk
from destinations.warehouse.identity import (
    Identifier,
    MalformedMergeError,
    Rules,
    clean,
    statement,
)
from events.models import DeadLetter, Quarantined
from events.people import People, opened
from sources.models import Source

LINKING_TYPES = ("alias", "merge", "identify")
"""Calls that may name an identifier elsewhere than in the columns of the log."""

LOGGED = """
SELECT id, received_at, source_id, payload
FROM events_event
WHERE source_id = ANY (%(sources)s::bigint[]) AND (
    user_id = ANY (%(users)s::text[])
    OR anonymous_id = ANY (%(devices)s::text[])
    OR (type = ANY (%(types)s::text[]) AND EXISTS (
        SELECT FROM unnest(%(texts)s::text[]) needle WHERE strpos(payload, needle) > 0
    ))
)
ORDER BY id
"""

REWRITE = """
UPDATE events_event
SET payload = %s, type = %s, event = %s, user_id = %s, anonymous_id = %s
WHERE id = %s AND received_at = %s
"""


@dataclass(frozen=True)
class Receipt:
    """What an erasure deleted, emptied or cleared, by table; profiles as they are afterwards."""

    erasure: Erasure
    profiles_before: int
    profiles_after: int


def erase_person(
    destination: Destination,
    value: str,
    id_type: str | None = None,
    *,
    whole_profile: bool = True,
    mode: str = DELETE,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Receipt:
    """Erase a profile, found by any of its identifiers or ids, or one identifier.

    One identifier needs its type, and is suppressed also when no event has stated it. A dry run
    does the same in both databases and takes it back.
    """
    with opened(destination) as people:
        identifiers = [Identifier(id_type or "user_id", value)]
        if whole_profile:
            identifiers = erase.members(people.conn, people.schema, value, id_type)
        return erase_identifiers(
            destination, people, identifiers, mode=mode, actor=actor, reason=reason, dry_run=dry_run
        )


def erase_identifiers(
    destination: Destination,
    people: People,
    identifiers: Collection[Identifier],
    *,
    mode: str = DELETE,
    actor: str,
    reason: str = "",
    dry_run: bool = False,
) -> Receipt:
    """The log first: if it fails half-way the warehouse still knows whom to erase next time."""
    rules = identity.read_rules(people.conn, people.schema)
    counts = _Kept(destination, Erased(dict.fromkeys(identifiers, mode)), mode, rules).erase(
        dry_run=dry_run
    )
    done = erase.erase(
        *people.graph, identifiers, mode=mode, actor=actor, reason=reason, dry_run=dry_run
    )
    erasure = Erasure(
        destination=destination,
        actor=actor,
        reason=reason,
        mode=mode,
        finished_at=timezone.now(),
        keys=[str(key) for key in done.keys],
        counts={**counts, **done.counts},
    )
    if not dry_run:
        erasure.save()
    return Receipt(erasure, len(done.outcome.before), len(done.outcome.after))


class _Kept:
    """What this instance itself keeps of the people: events, dead letters, refused requests."""

    def __init__(self, destination: Destination, erased: Erased, mode: str, rules: Rules) -> None:
        self._destination = destination
        self._sources = {
            source.pk: source.public_id
            for source in Source.objects.filter(connections__destination=destination).distinct()
        }
        self._erased = erased
        self._mode = mode
        self._rules = rules
        self._texts = sorted({text for value in erased.values for text in _texts(value)})
        self._pattern = re.compile(
            "|".join(rf"(?<![\w-]){re.escape(text)}(?![\w-])" for text in self._texts)
        )

    def erase(self, *, dry_run: bool) -> dict[str, int]:
        with transaction.atomic():
            counts = {
                "event log": self._log(),
                "dead letters": self._dead_letters(),
                "quarantine": self._quarantine(),
            }
            if dry_run:
                transaction.set_rollback(True)
        return {name: count for name, count in counts.items() if count}

    def _log(self) -> int:
        rewritten = [
            (new, event_id, received_at)
            for event_id, received_at, source_pk, payload in self._logged()
            if (new := self._rewritten(payload, self._sources[source_pk])) is not None
        ]
        with connection.cursor() as cursor:
            cursor.executemany(
                REWRITE,
                [
                    (orjson.dumps(event).decode(), *_columns(event), event_id, received_at)
                    for event, event_id, received_at in rewritten
                ],
            )
        return len(rewritten)

    def _logged(self) -> Iterator[Any]:
        with connection.cursor() as cursor:
            cursor.execute(
                LOGGED,
                {
                    "sources": list(self._sources),
                    "users": self._erased.users,
                    "devices": self._erased.devices,
                    "types": list(LINKING_TYPES),
                    "texts": self._texts,
                },
            )
            yield from cursor.fetchall()

    def _rewritten(self, payload: str, source_id: str) -> dict[str, Any] | None:
        """The event without the erased people; None when they are not in it."""
        event: dict[str, Any] = json.loads(payload)
        try:
            stated = statement(event, source_id, self._rules)
        except MalformedMergeError:
            stated = None
        if stated is None or self._erased.modes.keys().isdisjoint(stated.identifiers):
            return None
        if stated.primary in self._erased.modes:
            return husk(event, self._mode)
        return cleared(event, self._erased)

    def _dead_letters(self) -> int:
        letters = DeadLetter.objects.filter(connection__destination=self._destination)
        found = [pk for pk, payload in letters.values_list("pk", "payload") if self._names(payload)]
        return DeadLetter.objects.filter(pk__in=found).delete()[0]

    def _quarantine(self) -> int:
        refused = Quarantined.objects.filter(source__in=self._sources)
        found = [
            pk
            for pk, body in refused.values_list("pk", "body").iterator()
            if self._names(bytes(body).decode("utf-8", "replace"))
        ]
        return Quarantined.objects.filter(pk__in=found).delete()[0]

    def _names(self, text: str) -> bool:
        return self._pattern.search(text) is not None


def _texts(value: str) -> set[str]:
    """The ways in which a value stands in JSON or in a query string."""
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value),
        quote_plus(value),
    }


def _columns(event: dict[str, Any]) -> tuple[str, str, str, str]:
    """type, event, user_id and anonymous_id as the log holds them."""
    kind, name = event.get("type"), event.get("event")
    user_id, anonymous_id = clean(event.get("userId")), clean(event.get("anonymousId"))
    return str(kind), "" if name is None else str(name), user_id or "", anonymous_id or ""
