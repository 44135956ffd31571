"""Counts what an erasure would erase: the warehouse exactly, the rest as far as time allows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic

from django.db import transaction

from destinations.models import Destination, ErasureStep
from destinations.postgres.identity import graph_schema
from destinations.postgres.operations import erase
from destinations.warehouse.identity.erasure import DELETE, ErasedIdentifiers
from destinations.warehouse.identity.statements import Identifier
from events.log import reader as event_reader
from events.log.database import log_reader
from events.log.erasure import LogErasure
from events.people.erased_texts import ErasedTexts
from events.people.erasure import DEFAULT_SLICE, concerned_sources
from events.people.store import IdentityStore

ReportProgress = Callable[[str, float | None], None]
"""Called with the name of the current step, and its done share from 0 to 1 if that is known."""
Hit = tuple[int, float | None]
"""The number of rows to erase in one part of a table, and the share read so far, if known."""


@dataclass(frozen=True)
class ErasurePreview:
    counts: dict[str, int]
    at_least: frozenset[str]
    """Tables of which only the newest part was counted, because the whole took too long."""


def preview_erasure(
    destination: Destination,
    identities: IdentityStore,
    identifiers: Collection[Identifier],
    *,
    mode: str = DELETE,
    max_seconds: float = inf,
    report: ReportProgress = lambda _step, _share: None,
) -> ErasurePreview:
    """Count what the erasure would erase; max_seconds limits each table outside the warehouse.

    The warehouse runs the erasure and rolls it back.
    """
    report(ErasureStep.WAREHOUSE.label, None)
    with identities.operation("", dry_run=True) as op:
        result = erase.erase_identifiers(op, identifiers, mode)
    erased = ErasedIdentifiers(dict.fromkeys(identifiers, mode))
    rules = graph_schema.read_rules(identities.conn, identities.schema)
    texts, sources = ErasedTexts(erased), concerned_sources(destination)
    letters, refused = texts.dead_letters(destination, sources), texts.refused_requests(sources)
    hits_by_step = {
        ErasureStep.LOG: _log_hits(LogErasure(sources, erased, rules)),
        ErasureStep.DEAD_LETTERS: _row_hits(is_named for _, is_named in letters),
        ErasureStep.QUARANTINE: _row_hits(is_named for _, is_named in refused),
        ErasureStep.MESSAGES: _row_hits(bool(changed) for *_, changed in texts.messages()),
    }
    counts, at_least = {}, set()
    for step, hits in hits_by_step.items():
        count, is_whole = _count_hits(hits, max_seconds, partial(report, step.label))
        if count or not is_whole:
            counts[step.label] = count
        if not is_whole:
            at_least.add(step.label)
    return ErasurePreview({**counts, **result.counts}, frozenset(at_least))


def _log_hits(log_erasure: LogErasure) -> Generator[Hit]:
    """The hits in the log, its newest part first."""
    with log_reader() as reader:
        head = event_reader.barrier(reader)
        first = event_reader.first_id(reader, None, head)
    if first is None:
        return
    ids = DEFAULT_SLICE.ids
    for upto in range(head, first - 1, -ids):
        with transaction.atomic():
            count = log_erasure.count(upto - ids, upto)
        yield count, min(1.0, (head - upto + ids) / (head - first + 1))


def _row_hits(rows: Iterator[bool]) -> Generator[Hit]:
    """Reads in a transaction: outside of one, Postgres stores all rows before the first."""
    with transaction.atomic():
        for is_hit in rows:
            yield int(is_hit), None


def _count_hits(
    hits: Generator[Hit], max_seconds: float, report: Callable[[float | None], None]
) -> tuple[int, bool]:
    """The number of hits, and whether the time allowed all parts."""
    until, total = monotonic() + max_seconds, 0
    report(None)
    with closing(hits):
        for count, share in hits:
            total += count
            if share is not None:  # hits without a share are read in a transaction
                report(share)
            if monotonic() > until:
                return total, False
    return total, True
