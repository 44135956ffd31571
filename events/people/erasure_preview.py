"""What an erasure would erase: the warehouse's rows exactly, the rest as far as time allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic

from django.db import transaction

from destinations.models import Destination, ErasureStep
from destinations.postgres.identity import schema
from destinations.postgres.operations import erase
from destinations.warehouse.identity.erasure import DELETE, Erased
from destinations.warehouse.identity.statements import Identifier
from events.log import reader as event_reader
from events.log.database import log_reader
from events.log.erasure import LogErasure
from events.people.erased_texts import ErasedTexts
from events.people.erasure import DEFAULT_SLICE, concerned_sources
from events.people.store import IdentityStore

ReportProgress = Callable[[str, float | None], None]
"""Takes what is looked at now, and how much of that is done, from 0 to 1, where it is known."""
Hit = tuple[int, float | None]
"""How many of a part are concerned, and how much of the table that was, where it is known."""


@dataclass(frozen=True)
class ErasurePreview:
    """Counts by table."""

    counts: dict[str, int]
    at_least: frozenset[str]
    """Tables of which the newest part was counted: the whole took too long."""


def preview_erasure(
    destination: Destination,
    people: IdentityStore,
    identifiers: Collection[Identifier],
    *,
    mode: str = DELETE,
    max_seconds: float = inf,
    tell: ReportProgress | None = None,
) -> ErasurePreview:
    """The warehouse does it and takes it back; of each of our own tables so long is read."""
    tell = tell or _untold
    tell(ErasureStep.WAREHOUSE.label, None)
    done = erase.erase_identifiers(*people.args, identifiers, mode=mode, actor="", dry_run=True)
    erased = Erased(dict.fromkeys(identifiers, mode))
    rules = schema.read_rules(people.conn, people.schema)
    sought = LogErasure(concerned_sources(destination), erased, rules)
    kept = {}
    for step, hits in _hits(destination, erased, sought):
        kept[step.label] = _sum(hits, max_seconds, partial(tell, step.label))
    counts = {name: count for name, (count, is_whole) in kept.items() if count or not is_whole}
    at_least = frozenset(name for name, (_, is_whole) in kept.items() if not is_whole)
    return ErasurePreview({**counts, **done.counts}, at_least)


def _untold(step: str, share: float | None) -> None:
    """Nobody watches."""


def _hits(
    destination: Destination, erased: Erased, sought: LogErasure
) -> Iterator[tuple[ErasureStep, Generator[Hit]]]:
    """For each table the hits in one part after the other."""
    texts, sources = ErasedTexts(erased), sought.sources
    letters, refused = texts.dead_letters(destination, sources), texts.refused(sources)
    yield ErasureStep.LOG, _logged(sought)
    yield ErasureStep.DEAD_LETTERS, _read(is_named for _, is_named in letters)
    yield ErasureStep.QUARANTINE, _read(is_named for _, is_named in refused)
    yield ErasureStep.MESSAGES, _read(bool(changed) for *_, changed in texts.messages())


def _logged(sought: LogErasure) -> Generator[Hit]:
    """Of the log, the newest part first."""
    with log_reader() as reader:
        head = event_reader.barrier(reader)
        first = event_reader.first_id(reader, None, head)
    if first is None:
        return
    ids = DEFAULT_SLICE.ids
    for upto in range(head, first - 1, -ids):
        with transaction.atomic():
            count = sought.count(upto - ids, upto)
        yield count, min(1.0, (head - upto + ids) / (head - first + 1))


def _read(found: Iterator[bool]) -> Generator[Hit]:
    """In a transaction: outside of one, Postgres stores all rows before it gives the first."""
    with transaction.atomic():
        for is_hit in found:
            yield int(is_hit), None


def _sum(
    hits: Generator[Hit], max_seconds: float, tell: Callable[[float | None], None]
) -> tuple[int, bool]:
    """Of as many as time allows; whether of all. Nothing is told from inside a transaction."""
    until, total = monotonic() + max_seconds, 0
    tell(None)
    with closing(hits):
        for count, share in hits:
            total += count
            if share is not None:
                tell(share)
            if monotonic() > until:
                return total, False
    return total, True
