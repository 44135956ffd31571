"""Erase people everywhere: warehouse, event log, dead letters, quarantine and messages.

A request is a row, which a worker then works off. The warehouse comes first: what it suppresses no
later load stores. The progress is committed with each step and each part of the log, so a worker
may be killed at any point and another goes on. The row holds the identifiers, encrypted, until all
is done; nothing else does, neither the broker nor a log line.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from time import monotonic, sleep
from traceback import format_tb
from typing import Any, NamedTuple

import psycopg
from django.db import transaction
from django.db.models import Manager, QuerySet
from django.utils import timezone

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import (
    NO_FAILURE,
    RETRY_FIELDS,
    Destination,
    Erasure,
    ErasureState,
    ErasureStep,
)
from destinations.postgres.identity import schema
from destinations.postgres.operations import erase
from destinations.warehouse.identity.erasure import DELETE, Erased
from destinations.warehouse.identity.statements import Identifier, node_key
from events.gateway import recent_requests
from events.log import reader as event_reader
from events.log.database import log_reader
from events.log.erasure import LogErasure
from events.models import DeadLetter, MinuteCount, Quarantined
from events.people.erased_texts import ErasedTexts, ScannedRow, clear_messages
from events.people.store import IdentityStore, connect
from events.workers.locks import Lock, try_lock
from sources.models import Source

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2


class Slice(NamedTuple):
    """How much a worker erases from the log or a table before loads have their turn."""

    seconds: float = 1.0
    ids: int = 20_000
    """Ids of the log per transaction."""


DEFAULT_SLICE = Slice()


def identifiers_to_erase(
    people: IdentityStore, value: str, id_type: str | None = None, *, whole_profile: bool = True
) -> list[Identifier]:
    """A profile's, found by any of its identifiers or ids; or one, by its type and value.

    One identifier may be one that no event has stated.
    """
    if whole_profile:
        return erase.profile_identifiers(people.conn, people.schema, value, id_type)
    return [Identifier(id_type or "user_id", value)]


def request(
    destination: Destination,
    people: IdentityStore,
    identifiers: Collection[Identifier],
    *,
    mode: str = DELETE,
    actor: str,
    reason: str = "",
) -> Erasure:
    """A new erasure, which waits for a worker; DestinationError for what cannot be erased."""
    erase.check_erasable(identifiers, mode)
    wanted = sorted(set(identifiers))
    salt = schema.read_meta(people.conn, people.schema).salt
    erasure = Erasure.objects.create(
        destination=destination,
        actor=actor,
        reason=ErasedTexts(Erased(dict.fromkeys(wanted, mode))).without(reason),
        mode=mode,
        keys=[str(node_key(salt, identifier)) for identifier in wanted],
        held={"identifiers": [list(identifier) for identifier in wanted]},
    )
    logger.info("erasure requested erasure=%s destination=%s", erasure.pk, destination.pk)
    return erasure


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
    """Request and do it here; DestinationError when it fails. A worker then tries again."""
    with connect(destination) as people:
        identifiers = identifiers_to_erase(people, value, id_type, whole_profile=whole_profile)
        erasure = request(destination, people, identifiers, mode=mode, actor=actor, reason=reason)
    run(erasure)
    return erasure


def run(erasure: Erasure) -> None:
    """Run the erasure to its end, in turns with a worker that also has it.

    Raises DestinationError if it fails.
    """
    while run_slice(erasure) or _is_with_worker(erasure):
        pass


def _is_with_worker(erasure: Erasure) -> bool:
    erasure.refresh_from_db()
    if erasure.state == ErasureState.FAILED:
        raise DestinationError(f"{erasure} failed and will be retried by a worker: {erasure.error}")
    if not erasure.is_done:
        sleep(LOOK_SECONDS)
    return not erasure.is_done


def unfinished_erasures() -> QuerySet[Erasure]:
    """Those that a worker can go on with now."""
    waiting = Erasure.objects.exclude(state=ErasureState.DONE)
    return waiting.exclude(retry_at__gt=timezone.now()).defer("held")


def run_slice(erasure: Erasure, limits: Slice = DEFAULT_SLICE) -> bool:
    """One step, or a part of the log; whether the erasure is to go on at once."""
    with log_reader() as reader, try_lock(reader, Lock.ERASURE, erasure.pk) as taken:
        if not taken:
            return False
        erasure.refresh_from_db()
        if erasure.is_done or erasure.is_waiting(timezone.now()):
            return False
        return _tried(erasure, limits, reader)


def _tried(erasure: Erasure, limits: Slice, reader: psycopg.Connection[Any]) -> bool:
    """What fails is said without the values, which an error may quote."""
    texts = None
    try:
        erased = _held(erasure)
        texts = ErasedTexts(erased)
        with connect(erasure.destination) as people:
            _Work(erasure, limits, people, erased, texts).go_on(reader)
    except Exception as error:  # noqa: BLE001 - the erasure keeps it and is retried
        said = str(error) or type(error).__name__
        _fail(erasure, texts.without(said) if texts else said)
        if not isinstance(error, DestinationError | DestinationUnavailableError):
            logger.error("erasure broke erasure=%s\n%s", erasure.pk, _frames(error))  # noqa: TRY400
        return False
    return not erasure.is_done


def _held(erasure: Erasure) -> Erased:
    held = erasure.held.get("identifiers", [])
    if not held:
        raise DestinationError("the identifiers are no longer stored; create a new request")
    return Erased({Identifier(*each): erasure.mode for each in held})


class _Work:
    def __init__(
        self,
        erasure: Erasure,
        limits: Slice,
        people: IdentityStore,
        erased: Erased,
        texts: ErasedTexts,
    ) -> None:
        self._erasure = erasure
        self._limits = limits
        self._people = people
        self._erased = erased
        self._texts = texts
        self._sources = concerned_sources(erasure.destination)

    def go_on(self, reader: psycopg.Connection[Any]) -> None:
        texts, sources, below = self._texts, self._sources, self._erasure.position
        match self._erasure.step:
            case ErasureStep.WAREHOUSE:
                self._erase_warehouse()
            case ErasureStep.LOG:
                self._erase_logged(reader)
            case ErasureStep.DEAD_LETTERS:
                letters = texts.dead_letters(self._erasure.destination, sources, below)
                self._erase_rows(DeadLetter.objects, letters, ErasureStep.QUARANTINE)
            case ErasureStep.QUARANTINE:
                refused = texts.refused(sources, below)
                self._erase_rows(Quarantined.objects, refused, ErasureStep.MESSAGES)
            case _:
                self._end()

    def _erase_warehouse(self) -> None:
        erasure = self._erasure
        _save(erasure, state=ErasureState.RUNNING)
        erase.erase_identifiers(
            *self._people.args,
            list(self._erased.modes),
            mode=erasure.mode,
            actor=erasure.actor,
            reason=erasure.reason,
            before_commit=self._keep_counts,
        )
        _save(erasure, step=ErasureStep.LOG, **_NO_ERROR)

    def _keep_counts(self, done: erase.ErasureResult) -> None:
        """The larger ones: a crash between the two commits has it done again, to no effect."""
        known = self._erasure.counts
        larger = {table: max(n, known.get(table, 0)) for table, n in done.counts.items()}
        _save(self._erasure, counts={**known, **larger})

    def _erase_logged(self, reader: psycopg.Connection[Any]) -> None:
        """What comes after the range is suppressed by the load, and cleared by it."""
        erasure = self._erasure
        after, upto = self._range(reader)
        rules = schema.read_rules(self._people.conn, self._people.schema)
        sought = LogErasure(self._sources, self._erased, rules)
        until = monotonic() + self._limits.seconds
        while after < upto:
            part = min(after + self._limits.ids, upto)
            with transaction.atomic():
                counts = self._counted(sought.erase(after, part))
                _save(erasure, position=part, counts=counts, **_NO_ERROR)
            after = part
            if monotonic() > until:
                break
        if after >= upto:
            _save(erasure, step=ErasureStep.DEAD_LETTERS, position=None)

    def _range(self, reader: psycopg.Connection[Any]) -> tuple[int, int]:
        """After which id to go on, and up to which; fixed as the step begins."""
        erasure = self._erasure
        if erasure.position is None or erasure.upto_id is None:
            upto = event_reader.barrier(reader)
            first = event_reader.first_id(reader, None, upto)
            after = upto if first is None else first - 1
            _save(erasure, after_id=after, upto_id=upto, position=after)
            return after, upto
        return erasure.position, erasure.upto_id

    def _erase_rows(
        self, rows: Manager[Any], found: Iterator[ScannedRow], following: ErasureStep
    ) -> None:
        """A part of a table, down to the position; then the next step."""
        until, named, position = monotonic() + self._limits.seconds, [], None
        with transaction.atomic():
            for pk, is_named in found:
                if is_named:
                    named.append(pk)
                if monotonic() > until:
                    position = pk
                    break
            counts = self._counted(rows.filter(pk__in=named).delete()[0])
            step = following if position is None else self._erasure.step
            _save(self._erasure, step=step, position=position, counts=counts, **_NO_ERROR)

    def _end(self) -> None:
        recent_requests.delete_requests(self._sources)
        asked = self._erasure.destination.identity_changes.deletable()
        asked.exclude(erasure=self._erasure).delete()  # its own is empty, and leads here
        with transaction.atomic():
            _finish(self._erasure, self._counted(clear_messages(self._texts.messages())))

    def _counted(self, count: int) -> dict[str, int]:
        """The counts with those of this step added."""
        counts, name = dict(self._erasure.counts), ErasureStep(self._erasure.step).label
        return {**counts, name: counts.get(name, 0) + count} if count else counts


_NO_ERROR: dict[str, Any] = {"state": ErasureState.RUNNING, **NO_FAILURE}


def _finish(erasure: Erasure, counts: dict[str, int]) -> None:
    fields = {**_NO_ERROR, "state": ErasureState.DONE, "finished_at": timezone.now(), "held": {}}
    _save(erasure, counts=counts, **fields)
    logger.info("erasure done erasure=%s", erasure.pk)


def _fail(erasure: Erasure, text: str) -> None:
    erasure.state = ErasureState.FAILED
    erasure.set_failure(text)
    erasure.save(update_fields=["state", *RETRY_FIELDS])
    retry_at = erasure.retry_at
    logger.warning("erasure failed erasure=%s, tried again at %s: %s", erasure.pk, retry_at, text)


def _frames(error: Exception) -> str:
    """Where it happened; a traceback would say the values, too."""
    return f"{type(error).__name__}\n{''.join(format_tb(error.__traceback__))}"


def _save(erasure: Erasure, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(erasure, name, value)
    erasure.save(update_fields=list(fields))


def concerned_sources(destination: Destination) -> dict[int, str]:
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
