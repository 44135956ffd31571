"""Erase people everywhere: warehouse, event log, dead letters, quarantine and messages."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from destinations.models import Destination, Erasure
from destinations.postgres import erase, identity
from destinations.warehouse.erasure import DELETE, Erased
from destinations.warehouse.identity import Identifier, Rules
from events import requests
from events.erased_events import erase_logged
from events.erased_texts import ErasedTexts
from events.models import MinuteCount
from events.people import People, opened
from sources.models import Source


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
    erase.check(identifiers, mode)
    erased = Erased(dict.fromkeys(identifiers, mode))
    texts = ErasedTexts(erased)
    reason = texts.without(reason)
    rules = identity.read_rules(people.conn, people.schema)
    counts = _erase_kept(destination, erased, texts, rules, dry_run=dry_run)
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


def _erase_kept(
    destination: Destination, erased: Erased, texts: ErasedTexts, rules: Rules, *, dry_run: bool
) -> dict[str, int]:
    """What this instance itself keeps of the people."""
    sources = _sources(destination)
    with transaction.atomic():
        counts = {
            "event log": erase_logged(sources, erased, rules),
            "dead letters": texts.erase_dead_letters(destination, sources),
            "quarantine": texts.erase_refused(sources),
            "messages": texts.clear_messages(),
        }
        if dry_run:
            transaction.set_rollback(True)
        else:
            requests.forget(sources)
    return {name: count for name, count in counts.items() if count}


def _sources(destination: Destination) -> dict[int, str]:
    """Whose log and refusals are concerned: not those of other destinations alone."""
    known = dict(Source.objects.values_list("pk", "public_id"))
    counted = MinuteCount.objects.order_by().values_list("source_id", flat=True).distinct()
    removed = dict.fromkeys(set(counted) - known.keys(), "")
    others = Source.objects.filter(connections__isnull=False).exclude(
        connections__destination=destination
    )
    for pk in others.values_list("pk", flat=True).distinct():
        del known[pk]
    return known | removed
