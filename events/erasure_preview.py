"""What an erasure would erase: the warehouse's rows exactly, the rest as far as time allows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from math import inf
from time import monotonic

from django.db import transaction

from destinations.models import Destination, ErasureStep
from destinations.postgres import erase, identity
from destinations.warehouse.erasure import DELETE, Erased
from destinations.warehouse.identity import Identifier
from events import log
from events.erased_events import Sought
from events.erased_texts import ErasedTexts
from events.erasures import SLICE_IDS, sources_of
from events.people import People


@dataclass(frozen=True)
class Preview:
    """Counts by table."""

    counts: dict[str, int]
    at_least: frozenset[str]
    """Tables of which the newest part was counted: the whole took too long."""


def preview(
    destination: Destination,
    people: People,
    identifiers: Collection[Identifier],
    *,
    mode: str = DELETE,
    max_seconds: float = inf,
) -> Preview:
    """The warehouse does it and takes it back; of each of our own tables so long is read."""
    done = erase.erase(*people.graph, identifiers, mode=mode, actor="", dry_run=True)
    erased = Erased(dict.fromkeys(identifiers, mode))
    rules = identity.read_rules(people.conn, people.schema)
    with transaction.atomic():
        kept = {
            step.label: _sum(hits, max_seconds)
            for step, hits in _hits(
                destination, erased, Sought(sources_of(destination), erased, rules)
            )
        }
    counts = {name: count for name, (count, is_whole) in kept.items() if count or not is_whole}
    at_least = frozenset(name for name, (_, is_whole) in kept.items() if not is_whole)
    return Preview({**counts, **done.counts}, at_least)


def _hits(
    destination: Destination, erased: Erased, sought: Sought
) -> Iterator[tuple[ErasureStep, Iterator[int]]]:
    """For each table the hits in one part after the other."""
    texts, sources = ErasedTexts(erased), sought.sources
    letters, refused = texts.dead_letters(destination, sources), texts.refused(sources)
    yield ErasureStep.LOG, (sought.count(after, upto) for after, upto in _parts())
    yield ErasureStep.DEAD_LETTERS, (int(is_named) for _, is_named in letters)
    yield ErasureStep.QUARANTINE, (int(is_named) for _, is_named in refused)
    yield ErasureStep.MESSAGES, (int(bool(changed)) for _, _, changed in texts.messages())


def _parts() -> Iterator[tuple[int, int]]:
    """Of the log, the newest first."""
    with log.reader() as reader:
        upto = log.barrier(reader)
        first = log.first_id(reader, None, upto)
    while first is not None and upto >= first:
        yield upto - SLICE_IDS, upto
        upto -= SLICE_IDS


def _sum(hits: Iterator[int], max_seconds: float) -> tuple[int, bool]:
    """Of as many as time allows; whether of all."""
    until, total = monotonic() + max_seconds, 0
    for count in hits:
        total += count
        if monotonic() > until:
            return total, False
    return total, True
