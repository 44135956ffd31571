from __future__ import annotations

import logging
from typing import Any

from celery import shared_task
from django.db.models import QuerySet
from django.utils import timezone

from destinations.interface import (
    ChunkRefusedError,
    DestinationError,
    DestinationUnavailableError,
)
from destinations.models import Connection, Destination, IdentityChange
from destinations.registry import destination_type
from events import (
    counting,
    erasures,
    heartbeat,
    history,
    identity_changes,
    ledger,
    log,
    quarantine,
    replays,
    reruns,
    retention,
    rings,
    selfcheck,
)
from events.loads import run_due_load
from events.log_database import log_connection, log_reader
from events.models import Replay, ReplayState

logger = logging.getLogger(__name__)

PARTITION_DAYS_AHEAD = 3
COUNT_SECONDS = 5.0
SLICE_SECONDS = 1.0
RUN_SECONDS = 10.0
"""Then a worker turns to the next connection, however much of this one is pending."""


@shared_task(name=rings.Work.LOAD)
def load_connection(connection_pk: int) -> None:
    """Load what a connection has pending, unless it waits: for its schedule or after a fault."""
    rings.answered(connection_pk)
    connection = (
        Connection.objects.select_related("source", "destination")
        .filter(pk=connection_pk, enabled=True, destination__enabled=True)
        .first()
    )
    if not connection or connection.is_waiting(timezone.now()):
        return
    if run_due_load(connection, RUN_SECONDS):
        rings.send(connection_pk)


@shared_task(name=rings.Work.REPLAY)
def load_replay(replay_pk: int) -> None:
    """Load the next part of a replay, then let loads have their turn."""
    rings.answered(replay_pk, rings.Work.REPLAY)
    replay = _replays().filter(pk=replay_pk).first()
    if replay and replays.run_slice(replay):
        rings.send(replay_pk, rings.Work.REPLAY)


@shared_task(name=rings.Work.ERASURE)
def continue_erasure(erasure_pk: int) -> None:
    """Erase the next part of what was requested, then let loads have their turn."""
    rings.answered(erasure_pk, rings.Work.ERASURE)
    erasure = erasures.unfinished().filter(pk=erasure_pk).first()
    if erasure and erasures.run_slice(erasure):
        rings.send(erasure_pk, rings.Work.ERASURE)


@shared_task(name=rings.Work.CHANGE)
def go_on_with_change(change_pk: int) -> None:
    """Count what a change of identities does, or make the one that was confirmed."""
    rings.answered(change_pk, rings.Work.CHANGE)
    identity_changes.go_on(change_pk)


@shared_task(name=rings.Work.QUARANTINE)
def send_quarantined_again(_: int) -> None:
    """Send a part of what was asked for, then let loads have their turn."""
    rings.answered(0, rings.Work.QUARANTINE)
    if reruns.resend_waiting(SLICE_SECONDS):
        rings.send(0, rings.Work.QUARANTINE)


def _replays() -> QuerySet[Replay]:
    """Those that can go on now: a paused connection's replay is paused, too."""
    return (
        Replay.objects.select_related("connection__source", "connection__destination")
        .filter(state=ReplayState.RUNNING)
        .filter(connection__enabled=True, connection__destination__enabled=True)
        .exclude(retry_at__gt=timezone.now())
    )


@shared_task
def ring_connections(*, anew: bool = False) -> None:
    """Ring every connection that is behind the log, and all else that waits for a worker.

    Rings may be lost, and waits end. Anew: also those whose ring a killed worker may have taken.
    """
    with log_reader() as conn:
        head = log.barrier(conn)
    behind = Connection.objects.filter(
        enabled=True, destination__enabled=True, position__lt=head
    ).exclude(retry_at__gt=timezone.now())
    waiting: dict[rings.Work, QuerySet[Any]] = {
        rings.Work.LOAD: behind,
        rings.Work.REPLAY: _replays(),
        rings.Work.ERASURE: erasures.unfinished(),
        rings.Work.CHANGE: IdentityChange.objects.with_worker(),
    }
    for work, found in waiting.items():
        for pk in found.values_list("pk", flat=True):
            _ring(pk, work, anew=anew)
    if reruns.waiting_requests().exists():
        _ring(0, rings.Work.QUARANTINE, anew=anew)


def _ring(pk: int, work: rings.Work, *, anew: bool) -> None:
    if anew:
        rings.answered(pk, work)
    rings.send(pk, work)


@shared_task
def keep_destinations() -> None:
    """Have each destination do what its loads left for later."""
    for destination in Destination.objects.filter(
        enabled=True, connections__enabled=True
    ).distinct():
        try:
            kind = destination_type(destination.type)
            kind.upkeep(destination.config, destination.secrets)
        except (DestinationError, DestinationUnavailableError, ChunkRefusedError) as error:
            logger.warning("upkeep failed destination=%s: %s", destination.pk, error)


@shared_task
def keep_log() -> None:
    """Make the log's partitions of the coming days; let go of what was kept long enough."""
    with log_connection() as conn:
        log.ensure_partitions(conn, timezone.now().date(), PARTITION_DAYS_AHEAD)
        counting.advance(conn)  # nothing may be dropped before it is counted
        ledger.settle()
        retention.keep_within(conn, retention.Limits.from_settings(), timezone.now())
        counting.fold(conn, timezone.now())
    ledger.forget_old(timezone.now())
    quarantine.delete_old()
    history.forget_old()
    identity_changes.forget_old(timezone.now())


@shared_task
def count_log() -> None:
    """Keep the ledger's counts close behind the log."""
    heartbeat.beat()
    with log_reader() as conn:
        if counting.advance(conn, COUNT_SECONDS):
            ledger.settle()


@shared_task
def check_identities() -> None:
    """Compare each destination's identities with what their links give, once a night."""
    selfcheck.check_all()
