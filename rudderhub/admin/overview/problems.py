"""Problems on the overview: current and latest failures, each with its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
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
    """The problems that the user may see; of those with one text the newest, with their number.

    Reasons are shown without values, because reads of the overview are not audited. With a source,
    only its own problems and those of the destinations that it feeds are returned.
    """
    problems = [
        problem
        for permission, problems_of_kind in _PROBLEMS.items()
        if request.user.has_perm(permission)
        for problem in problems_of_kind(source_pk)
    ]
    counts = Counter((problem.what, problem.why) for problem in problems)
    newest = {(problem.what, problem.why): problem for problem in reversed(problems)}
    return [(newest[text], count) for text, count in counts.items()]


def _connection_records(records: QuerySet[Any], source_pk: int | None) -> QuerySet[Any]:
    """The records with their connections; with a source, only those of its connections."""
    records = records.select_related("connection__source", "connection__destination")
    return records.filter(connection__source_id=source_pk) if source_pk else records


def _destination_records(records: QuerySet[Any], source_pk: int | None) -> QuerySet[Any]:
    """The records with their destinations; with a source, only those that it feeds."""
    records = records.select_related("destination")
    if not source_pk:
        return records
    fed = Connection.objects.filter(source_id=source_pk).values("destination_id")
    return records.filter(destination_id__in=fed)


def _connection_problems(source_pk: int | None) -> Iterator[Problem]:
    failing = Connection.objects.filter(enabled=True, destination__enabled=True).exclude(error="")
    if source_pk:
        failing = failing.filter(source_id=source_pk)
    for connection in failing.select_related("source", "destination").order_by("pk")[:MOST_FAILING]:
        yield Problem(
            connection.last_loaded_at,
            f"{connection} is not being loaded",
            connection.error,
            f"{advice(connection.error).text} It retries automatically and no event is lost.",
            reverse("admin:destinations_destination_change", args=[connection.destination_id]),
        )


def _self_check_problems(source_pk: int | None) -> Iterator[Problem]:
    """The newest self-check of each destination, if it found differences."""
    checks = _destination_records(IdentityCheck.objects.all(), source_pk)
    for check in checks.order_by("destination_id", "-id").distinct("destination_id"):
        if check.differences:
            yield Problem(
                check.created_at,
                f"Identities of {check.destination} differ from their links",
                f"at least {count_text(len(check.differences), 'difference')}: "
                f"{check.differences[0]}",
                "Run manage.py identity_rebuild to correct them. Ids stay the same.",
                reverse("admin:destinations_identitycheck_change", args=[check.pk]),
            )


def _erasure_problems(source_pk: int | None) -> Iterator[Problem]:
    """Erasures that failed, that no worker has begun, or that take too long."""
    now = timezone.now()
    not_begun = Q(state=ErasureState.WAITING, created_at__lt=now - ERASURE_BEGINS)
    not_ended = Q(state=ErasureState.RUNNING, created_at__lt=now - ERASURE_ENDS)
    stuck = Erasure.objects.filter(Q(state=ErasureState.FAILED) | not_begun | not_ended)
    for erasure in _destination_records(stuck, source_pk).defer("held")[:NEWEST]:
        why = {
            ErasureState.WAITING: "No worker has started it.",
            ErasureState.RUNNING: f"It is at {erasure.percent} %.",
            ErasureState.FAILED: fingerprint(erasure.error),
        }
        yield Problem(
            erasure.created_at,
            f"Erasure {erasure.pk} in {erasure.destination} is not done",
            why[ErasureState(erasure.state)],
            "It retries automatically and continues where it stopped. Fix the cause and check "
            "that a worker is running.",
            reverse("admin:destinations_erasure_change", args=[erasure.pk]),
        )


def _warning_problems(source_pk: int | None) -> Iterator[Problem]:
    for load in _connection_records(Load.objects.all(), source_pk)[:NEWEST_LOADS]:
        if load.warnings:
            yield Problem(
                load.finished_at,
                f"A load of {load.connection} had a warning",
                load.warnings[-1],
                "Open the load. Blocked merges are under Merges & rules.",
                reverse("admin:events_load_change", args=[load.pk]),
            )


def _loss_problems(source_pk: int | None) -> Iterator[Problem]:
    for loss in _connection_records(Loss.objects.all(), source_pk)[:NEWEST]:
        yield Problem(
            loss.created_at,
            f"Lost: {loss}",
            loss.reason,
            "Retention dropped these events before they were loaded. Check "
            "RUDDERHUB_RETENTION_HARD_DAYS and why the connection does not load.",
            reverse("admin:events_loss_change", args=[loss.pk]),
        )


def _dead_letter_problems(source_pk: int | None) -> Iterator[Problem]:
    letters = DeadLetter.objects.filter(state=LetterState.OPEN).defer("payload")
    for letter in _connection_records(letters, source_pk)[:NEWEST]:
        yield Problem(
            letter.created_at,
            f"{letter.connection} could not load an event",
            fingerprint(letter.reason),
            "The event is kept as a dead letter and the others were loaded. Fix the cause and "
            "re-run it.",
            reverse("admin:events_deadletter_change", args=[letter.pk]),
        )


def _refusal_problems(source_pk: int | None) -> Iterator[Problem]:
    refusals = Quarantined.objects.filter(accepted_at=None, discarded_at=None)
    if source_pk:
        refusals = refusals.filter(source_id=source_pk)
    for refused in refusals.select_related("source").defer("body")[:NEWEST]:
        yield Problem(
            refused.received_at,
            f"A request from {refused.source} was refused with {refused.status}",
            fingerprint(refused.reason),
            refusal_advice(refused.status, refused.reason),
            reverse("admin:events_quarantined_change", args=[refused.pk]),
        )


_PROBLEMS: dict[str, Callable[[int | None], Iterator[Problem]]] = {
    "destinations.view_connection": _connection_problems,
    "destinations.view_identitycheck": _self_check_problems,
    "destinations.view_erasure": _erasure_problems,
    "events.view_load": _warning_problems,
    "events.view_loss": _loss_problems,
    "events.view_deadletter": _dead_letter_problems,
    "events.view_quarantined": _refusal_problems,
}
"""The problems of each kind, by the permission to view them."""
