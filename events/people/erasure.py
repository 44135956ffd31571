"""Erases people everywhere: warehouse, event log, dead letters, quarantine and messages.

A request is a row, which a worker works through step by step. The warehouse is first: later loads
do not store what it suppresses. The progress is committed with each step and each slice, so a
worker may be killed at any point and another continues. Only the row holds the identifiers,
encrypted, until the erasure is done; the broker and the log lines never do.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from time import monotonic, sleep
from typing import Any, NamedTuple

import psycopg
from django.db import transaction
from django.db.models import Manager, QuerySet
from django.utils import timezone

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination, Erasure, ErasureState, ErasureStep
from destinations.postgres.identity import graph_schema
from destinations.postgres.operations import erase
from destinations.warehouse.identity.erasure import DELETE, ErasedIdentifiers
from destinations.warehouse.identity.statements import Identifier, node_key
from events.gateway import recent_requests
from events.log import reader as event_reader
from events.log.database import log_reader
from events.log.erasure import LogErasure
from events.models import DeadLetter, MinuteCount, Quarantined
from events.people import store
from events.people.erased_texts import ErasedTexts, ScannedRow, clear_messages
from events.people.store import IdentityStore
from events.workers.errors import traceback_without_text
from events.workers.locks import Lock, try_lock
from sources.models import Source

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


class Slice(NamedTuple):
    """The part of the log or of a table that a worker erases before it runs other work."""

    seconds: float = 1.0
    ids: int = 20_000
    """Ids of the log per transaction."""


DEFAULT_SLICE = Slice()


def identifiers_to_erase(
    identities: IdentityStore, value: str, id_type: str | None = None, *, whole_profile: bool = True
) -> list[Identifier]:
    """The identifiers of the profile that has this value or id, or this identifier alone.

    A single identifier may be unknown: it is suppressed for later loads. Raises DestinationError if
    no profile has the value.
    """
    if whole_profile:
        return erase.profile_identifiers(identities.conn, identities.schema, value, id_type)
    return [Identifier(id_type or "user_id", value)]


def erase_person(
    destination: Destination,
    value: str,
    id_type: str | None = None,
    *,
    whole_profile: bool = True,
    mode: str = DELETE,
    actor: str,
    reason: str = "",
) -> Erasure:
    """Request and run an erasure; raises DestinationError if it fails, and a worker retries it."""
    with store.connect(destination) as identities:
        identifiers = identifiers_to_erase(identities, value, id_type, whole_profile=whole_profile)
        erasure = request(
            destination, identities, identifiers, mode=mode, actor=actor, reason=reason
        )
    run(erasure)
    return erasure


def request(
    destination: Destination,
    identities: IdentityStore,
    identifiers: Collection[Identifier],
    *,
    mode: str = DELETE,
    actor: str,
    reason: str = "",
) -> Erasure:
    """A new erasure, which waits for a worker; raises DestinationError for bad identifiers."""
    erase.check_erasable(identifiers, mode)
    distinct = sorted(set(identifiers))
    salt = graph_schema.read_meta(identities.conn, identities.schema).salt
    erasure = Erasure.objects.create(
        destination=destination,
        actor=actor,
        reason=ErasedTexts(ErasedIdentifiers(dict.fromkeys(distinct, mode))).redacted(reason),
        mode=mode,
        keys=[str(node_key(salt, identifier)) for identifier in distinct],
        held={"identifiers": [list(identifier) for identifier in distinct]},
    )
    logger.info("erasure requested erasure=%s destination=%s", erasure.pk, destination.pk)
    return erasure


def unfinished_erasures() -> QuerySet[Erasure]:
    """Erasures that a worker can continue now, without their identifiers."""
    unfinished = Erasure.objects.exclude(state=ErasureState.DONE)
    return unfinished.exclude(retry_at__gt=timezone.now()).defer("held")


def run(erasure: Erasure) -> None:
    """Run the erasure to its end, in turns with a worker; raises DestinationError if it fails."""
    while not erasure.is_done:
        if run_slice(erasure):
            continue
        erasure.refresh_from_db()
        if erasure.state == ErasureState.FAILED:
            text = f"{erasure} failed and will be retried by a worker: {erasure.error}"
            raise DestinationError(text)
        if not erasure.is_done:
            sleep(POLL_SECONDS)


def run_slice(erasure: Erasure, limits: Slice = DEFAULT_SLICE) -> bool:
    """Run one step or a part of it; False if the erasure is done, waits or is with a worker."""
    with log_reader() as reader, try_lock(reader, Lock.ERASURE, erasure.pk) as taken:
        if not taken:
            return False
        erasure.refresh_from_db()
        if erasure.is_done or erasure.is_waiting(timezone.now()):
            return False
        return _run_and_record_failure(erasure, limits, reader)


def _run_and_record_failure(
    erasure: Erasure, limits: Slice, reader: psycopg.Connection[Any]
) -> bool:
    """False if the erasure failed or is done; the recorded error quotes no erased value."""
    texts = None
    try:
        erased = _identifiers(erasure)
        texts = ErasedTexts(erased)
        with store.connect(erasure.destination) as identities:
            _ErasureRun(erasure, erased, texts, identities, reader, limits).run_step()
    except Exception as error:  # noqa: BLE001 - the erasure keeps it and is retried
        text = str(error) or type(error).__name__
        text = texts.redacted(text) if texts else text
        erasure.save_failure(text, state=ErasureState.FAILED)
        retry_at = erasure.retry_at
        logger.warning("erasure failed erasure=%s retry at %s: %s", erasure.pk, retry_at, text)
        if not isinstance(error, DestinationError | DestinationUnavailableError):
            traceback = traceback_without_text(error)
            logger.error("erasure broke erasure=%s\n%s", erasure.pk, traceback)  # noqa: TRY400
        return False
    return not erasure.is_done


def _identifiers(erasure: Erasure) -> ErasedIdentifiers:
    identifiers = erasure.held.get("identifiers", [])
    if not identifiers:
        raise DestinationError("the identifiers are no longer stored; create a new request")
    return ErasedIdentifiers({Identifier(*identifier): erasure.mode for identifier in identifiers})


@dataclass(frozen=True)
class _ErasureRun:
    """One erasure in the hands of a worker; the methods are its steps, in their order."""

    erasure: Erasure
    erased: ErasedIdentifiers
    texts: ErasedTexts
    identities: IdentityStore
    reader: psycopg.Connection[Any]
    limits: Slice

    @cached_property
    def sources(self) -> dict[int, str]:
        return concerned_sources(self.erasure.destination)

    def run_step(self) -> None:
        texts, sources, below = self.texts, self.sources, self.erasure.position
        match self.erasure.step:
            case ErasureStep.WAREHOUSE:
                self._erase_from_warehouse()
            case ErasureStep.LOG:
                self._erase_from_log()
            case ErasureStep.DEAD_LETTERS:
                letters = texts.dead_letters(self.erasure.destination, sources, below)
                self._erase_rows(DeadLetter.objects, letters, ErasureStep.QUARANTINE)
            case ErasureStep.QUARANTINE:
                refused = texts.refused_requests(sources, below)
                self._erase_rows(Quarantined.objects, refused, ErasureStep.MESSAGES)
            case _:
                self._clear_messages()

    def _erase_from_warehouse(self) -> None:
        erasure = self.erasure
        erasure.save_fields(state=ErasureState.RUNNING)
        with self.identities.operation(erasure.actor) as op:
            result = erase.erase_identifiers(
                op, list(self.erased.modes), erasure.mode, erasure.reason
            )
            self._save_warehouse_counts(result)
        self._save_progress(step=ErasureStep.LOG)

    def _save_warehouse_counts(self, result: erase.ErasureResult) -> None:
        """Save the larger counts before the commit: a run after a crash finds fewer rows."""
        counts = dict(self.erasure.counts)
        larger = {table: max(n, counts.get(table, 0)) for table, n in result.counts.items()}
        self.erasure.save_fields(counts=counts | larger)

    def _erase_from_log(self) -> None:
        """Rewrite a part of the log; loads suppress and clear the events that come later."""
        after, upto = self._log_range()
        rules = graph_schema.read_rules(self.identities.conn, self.identities.schema)
        log_erasure = LogErasure(self.sources, self.erased, rules)
        until = monotonic() + self.limits.seconds
        while after < upto:
            end = min(after + self.limits.ids, upto)
            with transaction.atomic():
                counts = self._counts_with(log_erasure.erase(after, end))
                self._save_progress(position=end, counts=counts)
            after = end
            if monotonic() > until:
                break
        if after >= upto:
            self.erasure.save_fields(step=ErasureStep.DEAD_LETTERS, position=None)

    def _log_range(self) -> tuple[int, int]:
        """The ids (after, upto) that remain; upto is fixed at the start of the step."""
        erasure = self.erasure
        if erasure.position is None or erasure.upto_id is None:
            upto = event_reader.barrier(self.reader)
            first = event_reader.first_id(self.reader, None, upto)
            after = upto if first is None else first - 1
            erasure.save_fields(after_id=after, upto_id=upto, position=after)
            return after, upto
        return erasure.position, erasure.upto_id

    def _erase_rows(
        self, rows: Manager[Any], scanned: Iterator[ScannedRow], next_step: ErasureStep
    ) -> None:
        """Delete the rows that name the person, for a slice of time or to the end of the table."""
        until, named, position = monotonic() + self.limits.seconds, [], None
        with transaction.atomic():
            for pk, is_named in scanned:
                if is_named:
                    named.append(pk)
                if monotonic() > until:
                    position = pk
                    break
            counts = self._counts_with(rows.filter(pk__in=named).delete()[0])
            step = next_step if position is None else self.erasure.step
            self._save_progress(step=step, position=position, counts=counts)

    def _clear_messages(self) -> None:
        """The last step: recent requests, previews of changes, and texts that quote a value."""
        erasure = self.erasure
        recent_requests.delete_requests(self.sources)
        changes = erasure.destination.identity_changes.deletable()
        changes.exclude(erasure=erasure).delete()  # its own holds no values and links to it
        with transaction.atomic():
            counts = self._counts_with(clear_messages(self.texts.messages()))
            erasure.save_success(
                state=ErasureState.DONE, finished_at=timezone.now(), held={}, counts=counts
            )
        logger.info("erasure done erasure=%s", erasure.pk)

    def _save_progress(self, **fields: Any) -> None:
        self.erasure.save_success(state=ErasureState.RUNNING, **fields)

    def _counts_with(self, count: int) -> dict[str, int]:
        """The erasure's counts after adding this count to the current step."""
        counts, name = dict(self.erasure.counts), ErasureStep(self.erasure.step).label
        return {**counts, name: counts.get(name, 0) + count} if count else counts


def concerned_sources(destination: Destination) -> dict[int, str]:
    """Public ids by key of the sources that may have events of the destination's people.

    Includes removed sources, without a public id; excludes sources that feed only other
    destinations.
    """
    sources = dict(Source.objects.values_list("pk", "public_id"))
    counted = MinuteCount.objects.order_by().values_list("source_id", flat=True).distinct()
    removed = dict.fromkeys(set(counted) - sources.keys(), "")
    others = Source.objects.filter(connections__isnull=False).exclude(
        connections__destination=destination
    )
    for pk in others.values_list("pk", flat=True).distinct():
        del sources[pk]
    return sources | removed
