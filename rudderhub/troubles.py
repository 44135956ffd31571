"""What goes wrong now and went wrong last, in plain words, with what to do."""

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
from events.advice import advice, refusal_advice
from events.models import DeadLetter, LetterState, Load, Loss, Quarantined
from events.reasons import reason_kind
from sources.display import counted, when

NEWEST = 5
MOST_FAILING = 20
ERASURE_BEGINS, ERASURE_ENDS = timedelta(minutes=5), timedelta(hours=1)
"""After the request; later, the overview says that it has not."""
LOADS_LOOKED_AT = 100


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong: when, what in words, and where to act."""

    at: datetime | None
    what: str
    why: str
    advice: str
    url: str

    @property
    def ago(self) -> SafeString:
        return when(self.at)


def troubles(request: HttpRequest, source_pk: int | None) -> list[tuple[Trouble, int]]:
    """Connections that fail now, then the newest refusals; alike ones once, with their number.

    Reasons are told without the values in them: an overview is no look at personal data.

    With a source: its own, and those of the destinations that it feeds.
    """
    return _alike(list(_troubles(request, source_pk)))


def _troubles(request: HttpRequest, source_pk: int | None) -> Iterator[Trouble]:
    may = request.user.has_perm
    if may("destinations.view_connection"):
        yield from map(_failing, _failing_now(source_pk))
    if may("destinations.view_identitycheck"):
        yield from map(_differing, _differences(source_pk))
    if may("destinations.view_erasure"):
        yield from map(_not_erased, _stuck(source_pk))
    if may("events.view_load"):
        loads = _through(Load.objects.all(), source_pk)[:LOADS_LOOKED_AT]
        yield from (_warned(load) for load in loads if load.warnings)
    if may("events.view_loss"):
        yield from map(_lost, _through(Loss.objects.all(), source_pk)[:NEWEST])
    if may("events.view_deadletter"):
        letters = DeadLetter.objects.filter(state=LetterState.OPEN).defer("payload")
        yield from map(_dead, _through(letters, source_pk)[:NEWEST])
    if may("events.view_quarantined"):
        yield from map(_refused, _newest_refused(source_pk))


def _alike(found: Sequence[Trouble]) -> list[tuple[Trouble, int]]:
    """Each once, with how many say the same; the first of them is the newest."""
    counts = Counter((each.what, each.why) for each in found)
    firsts = {(each.what, each.why): each for each in reversed(found)}
    return [(firsts[key], count) for key, count in counts.items()]


def _through(records: QuerySet[Any], source_pk: int | None) -> QuerySet[Any]:
    """Those of connections, of this source if there is one."""
    found = records.select_related("connection__source", "connection__destination")
    return found.filter(connection__source_id=source_pk) if source_pk else found


def _fed(records: QuerySet[Any], source_pk: int | None) -> QuerySet[Any]:
    """Those of destinations that the source feeds."""
    if not source_pk:
        return records
    fed = Connection.objects.filter(source_id=source_pk).values("destination_id")
    return records.filter(destination_id__in=fed)


def _failing_now(source_pk: int | None) -> QuerySet[Connection]:
    found = Connection.objects.filter(enabled=True, destination__enabled=True)
    if source_pk:
        found = found.filter(source_id=source_pk)
    failing = found.exclude(error="").select_related("source", "destination")
    return failing.order_by("pk")[:MOST_FAILING]


def _failing(connection: Connection) -> Trouble:
    return Trouble(
        connection.last_loaded_at,
        f"{connection} is not being loaded",
        connection.error,
        f"{advice(connection.error).text} It retries automatically and no event is lost.",
        reverse("admin:destinations_destination_change", args=[connection.destination_id]),
    )


def _differences(source_pk: int | None) -> list[IdentityCheck]:
    """The newest checks of destinations, where they found any."""
    checks = _fed(IdentityCheck.objects.select_related("destination"), source_pk)
    newest = checks.order_by("destination_id", "-id").distinct("destination_id")
    return [check for check in newest if check.differences]


def _differing(check: IdentityCheck) -> Trouble:
    return Trouble(
        check.created_at,
        f"Identities of {check.destination} differ from their links",
        f"at least {counted(len(check.differences), 'difference')}: {check.differences[0]}",
        "Run manage.py identity_rebuild to correct them. Ids stay the same.",
        reverse("admin:destinations_identitycheck_change", args=[check.pk]),
    )


def _stuck(source_pk: int | None) -> QuerySet[Erasure]:
    """Erasures that failed, that no worker has begun, or that take long."""
    now = timezone.now()
    not_begun = Q(state=ErasureState.WAITING, created_at__lt=now - ERASURE_BEGINS)
    not_ended = Q(state=ErasureState.RUNNING, created_at__lt=now - ERASURE_ENDS)
    found = Erasure.objects.filter(Q(state=ErasureState.FAILED) | not_begun | not_ended)
    return _fed(found, source_pk).select_related("destination").defer("held")[:NEWEST]


def _not_erased(erasure: Erasure) -> Trouble:
    why = {
        ErasureState.WAITING: "No worker has started it.",
        ErasureState.RUNNING: f"It is at {erasure.percent} %.",
        ErasureState.FAILED: reason_kind(erasure.error),
    }
    return Trouble(
        erasure.created_at,
        f"Erasure {erasure.pk} in {erasure.destination} is not done",
        why[ErasureState(erasure.state)],
        "It retries automatically and continues where it stopped. Fix the cause and check that a "
        "worker is running.",
        reverse("admin:destinations_erasure_change", args=[erasure.pk]),
    )


def _warned(load: Load) -> Trouble:
    return Trouble(
        load.finished_at,
        f"A load of {load.connection} had a warning",
        load.warnings[-1],
        "Open the load. Blocked merges are under Merges & rules.",
        reverse("admin:events_load_change", args=[load.pk]),
    )


def _lost(loss: Loss) -> Trouble:
    return Trouble(
        loss.created_at,
        f"Lost: {loss}",
        loss.reason,
        "Retention dropped these events before they were loaded. Check "
        "RUDDERHUB_RETENTION_HARD_DAYS and why the connection does not load.",
        reverse("admin:events_loss_change", args=[loss.pk]),
    )


def _dead(letter: DeadLetter) -> Trouble:
    return Trouble(
        letter.created_at,
        f"{letter.connection} could not load an event",
        reason_kind(letter.reason),
        "The event is kept as a dead letter and the others were loaded. Fix the cause and re-run "
        "it.",
        reverse("admin:events_deadletter_change", args=[letter.pk]),
    )


def _newest_refused(source_pk: int | None) -> QuerySet[Quarantined]:
    found = Quarantined.objects.filter(accepted_at=None, discarded_at=None)
    if source_pk:
        found = found.filter(source_id=source_pk)
    return found.select_related("source").defer("body")[:NEWEST]


def _refused(refused: Quarantined) -> Trouble:
    return Trouble(
        refused.received_at,
        f"A request from {refused.source} was refused with {refused.status}",
        reason_kind(refused.reason),
        refusal_advice(refused.status, refused.reason),
        reverse("admin:events_quarantined_change", args=[refused.pk]),
    )
