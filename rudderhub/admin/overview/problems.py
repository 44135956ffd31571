"""Problems on the overview: current and latest failures, each with its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from destinations.models import Connection, Erasure, ErasureState, IdentityCheck
from events.loads.advice import advice, refusal_advice
from events.models import DeadLetter, LetterState, Load, Loss, Quarantined
from events.workers.errors import fingerprint
from rudderhub.admin.base.display import count_text, relative_time

NEWEST = 5
MOST_FAILING = 20
ERASURE_BEGINS, ERASURE_ENDS = timedelta(minutes=5), timedelta(hours=1)
"""After these times an erasure that has not begun, or not ended, is a problem."""
NEWEST_LOADS = 100


@dataclass(frozen=True)
class Problem:
    """A failure: its time, what failed, why, and the page where it can be fixed."""

    at: datetime | None
    what: str
    why: str
    advice: str
    url: str

    @property
    def ago(self) -> SafeString:
        return relative_time(self.at)


def newest_problems(request: HttpRequest, source_pk: int | None) -> list[tuple[Problem, int]]:
    """The distinct problems that the user may see, each with its number of occurrences.

    Reasons are shown without values, because reads of the overview are not audited. With a source,
    only its own problems and those of the destinations that it feeds are returned.
    """
    return _distinct_problems(list(_visible_problems(request, source_pk)))


def _visible_problems(request: HttpRequest, source_pk: int | None) -> Iterator[Problem]:
    may = request.user.has_perm
    if may("destinations.view_connection"):
        yield from map(_failing_problem, _failing_connections(source_pk))
    if may("destinations.view_identitycheck"):
        yield from map(_check_problem, _failed_checks(source_pk))
    if may("destinations.view_erasure"):
        yield from map(_erasure_problem, _stuck_erasures(source_pk))
    if may("events.view_load"):
        loads = _connection_records(Load.objects.all(), source_pk)[:NEWEST_LOADS]
        yield from (_warning_problem(load) for load in loads if load.warnings)
    if may("events.view_loss"):
        yield from map(_loss_problem, _connection_records(Loss.objects.all(), source_pk)[:NEWEST])
    if may("events.view_deadletter"):
        letters = DeadLetter.objects.filter(state=LetterState.OPEN).defer("payload")
        yield from map(_dead_letter_problem, _connection_records(letters, source_pk)[:NEWEST])
    if may("events.view_quarantined"):
        yield from map(_refusal_problem, _newest_refusals(source_pk))


def _distinct_problems(problems: Sequence[Problem]) -> list[tuple[Problem, int]]:
    """The newest of all problems with the same text, each with their number."""
    counts = Counter((problem.what, problem.why) for problem in problems)
    newest = {(problem.what, problem.why): problem for problem in reversed(problems)}
    return [(newest[text], count) for text, count in counts.items()]


def _connection_records(records: QuerySet[Any], source_pk: int | None) -> QuerySet[Any]:
    """The records with their connections; with a source, only those of its connections."""
    records = records.select_related("connection__source", "connection__destination")
    return records.filter(connection__source_id=source_pk) if source_pk else records


def _destination_records(records: QuerySet[Any], source_pk: int | None) -> QuerySet[Any]:
    """The records of destinations; with a source, only those of destinations that it feeds."""
    if not source_pk:
        return records
    fed = Connection.objects.filter(source_id=source_pk).values("destination_id")
    return records.filter(destination_id__in=fed)


def _failing_connections(source_pk: int | None) -> QuerySet[Connection]:
    active = Connection.objects.filter(enabled=True, destination__enabled=True)
    if source_pk:
        active = active.filter(source_id=source_pk)
    failing = active.exclude(error="").select_related("source", "destination")
    return failing.order_by("pk")[:MOST_FAILING]


def _failing_problem(connection: Connection) -> Problem:
    return Problem(
        connection.last_loaded_at,
        f"{connection} is not being loaded",
        connection.error,
        f"{advice(connection.error).text} It retries automatically and no event is lost.",
        reverse("admin:destinations_destination_change", args=[connection.destination_id]),
    )


def _failed_checks(source_pk: int | None) -> list[IdentityCheck]:
    """The newest self-check of each destination, without those that found no difference."""
    checks = _destination_records(IdentityCheck.objects.select_related("destination"), source_pk)
    newest = checks.order_by("destination_id", "-id").distinct("destination_id")
    return [check for check in newest if check.differences]


def _check_problem(check: IdentityCheck) -> Problem:
    return Problem(
        check.created_at,
        f"Identities of {check.destination} differ from their links",
        f"at least {count_text(len(check.differences), 'difference')}: {check.differences[0]}",
        "Run manage.py identity_rebuild to correct them. Ids stay the same.",
        reverse("admin:destinations_identitycheck_change", args=[check.pk]),
    )


def _stuck_erasures(source_pk: int | None) -> QuerySet[Erasure]:
    """Erasures that failed, that no worker has begun, or that take too long."""
    now = timezone.now()
    not_begun = Q(state=ErasureState.WAITING, created_at__lt=now - ERASURE_BEGINS)
    not_ended = Q(state=ErasureState.RUNNING, created_at__lt=now - ERASURE_ENDS)
    stuck = Erasure.objects.filter(Q(state=ErasureState.FAILED) | not_begun | not_ended)
    return (
        _destination_records(stuck, source_pk).select_related("destination").defer("held")[:NEWEST]
    )


def _erasure_problem(erasure: Erasure) -> Problem:
    why = {
        ErasureState.WAITING: "No worker has started it.",
        ErasureState.RUNNING: f"It is at {erasure.percent} %.",
        ErasureState.FAILED: fingerprint(erasure.error),
    }
    return Problem(
        erasure.created_at,
        f"Erasure {erasure.pk} in {erasure.destination} is not done",
        why[ErasureState(erasure.state)],
        "It retries automatically and continues where it stopped. Fix the cause and check that a "
        "worker is running.",
        reverse("admin:destinations_erasure_change", args=[erasure.pk]),
    )


def _warning_problem(load: Load) -> Problem:
    return Problem(
        load.finished_at,
        f"A load of {load.connection} had a warning",
        load.warnings[-1],
        "Open the load. Blocked merges are under Merges & rules.",
        reverse("admin:events_load_change", args=[load.pk]),
    )


def _loss_problem(loss: Loss) -> Problem:
    return Problem(
        loss.created_at,
        f"Lost: {loss}",
        loss.reason,
        "Retention dropped these events before they were loaded. Check "
        "RUDDERHUB_RETENTION_HARD_DAYS and why the connection does not load.",
        reverse("admin:events_loss_change", args=[loss.pk]),
    )


def _dead_letter_problem(letter: DeadLetter) -> Problem:
    return Problem(
        letter.created_at,
        f"{letter.connection} could not load an event",
        fingerprint(letter.reason),
        "The event is kept as a dead letter and the others were loaded. Fix the cause and re-run "
        "it.",
        reverse("admin:events_deadletter_change", args=[letter.pk]),
    )


def _newest_refusals(source_pk: int | None) -> QuerySet[Quarantined]:
    refused = Quarantined.objects.filter(accepted_at=None, discarded_at=None)
    if source_pk:
        refused = refused.filter(source_id=source_pk)
    return refused.select_related("source").defer("body")[:NEWEST]


def _refusal_problem(refused: Quarantined) -> Problem:
    return Problem(
        refused.received_at,
        f"A request from {refused.source} was refused with {refused.status}",
        fingerprint(refused.reason),
        refusal_advice(refused.status, refused.reason),
        reverse("admin:events_quarantined_change", args=[refused.pk]),
    )
