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
from events.gateway import quarantine, resend
from events.loads import history, ledger, replays
from events.loads.discard_progress import Column
from events.loads.discards import reapply
from events.loads.run import run_due_load
from events.log import counts, partitions, reader, retention
from events.log.database import log_connection, log_reader
from events.models import Replay, ReplayState
from events.people import changes, self_check
from events.people import erasure as people_erasure
from events.workers import heartbeat, queue

logger = logging.getLogger(__name__)

PARTITION_DAYS_AHEAD = 3
COUNT_SECONDS = 5.0
SLICE_SECONDS = 1.0
RUN_SECONDS = 10.0
"""Then a worker turns to the next connection, however much of this one is pending."""


@shared_task(name=queue.Work.LOAD)
def load_connection(connection_pk: int) -> None:
    """Load what a connection has pending, unless it waits: for its schedule or after a fault."""
    queue.answered(connection_pk)
    connection = (
        Connection.objects.select_related("source", "destination")
        .filter(pk=connection_pk, enabled=True, destination__enabled=True)
        .first()
    )
    if not connection or connection.is_waiting(timezone.now()):
        return
    if run_due_load(connection, RUN_SECONDS):
        queue.send(connection_pk)


@shared_task(name=queue.Work.REPLAY)
def load_replay(replay_pk: int) -> None:
    """Load the next part of a replay, then let loads have their turn."""
    queue.answered(replay_pk, queue.Work.REPLAY)
    replay = _replays().filter(pk=replay_pk).first()
    if replay and replays.run_slice(replay):
        queue.send(replay_pk, queue.Work.REPLAY)


@shared_task(name=queue.Work.ERASURE)
def continue_erasure(erasure_pk: int) -> None:
    """Erase the next part of what was requested, then let loads have their turn."""
    queue.answered(erasure_pk, queue.Work.ERASURE)
    erasure = people_erasure.unfinished_erasures().filter(pk=erasure_pk).first()
    if erasure and people_erasure.run_slice(erasure):
        queue.send(erasure_pk, queue.Work.ERASURE)


@shared_task(name=queue.Work.CHANGE)
def advance_change(change_pk: int) -> None:
    """Count what a change of identities does, or make the one that was confirmed."""
    queue.answered(change_pk, queue.Work.CHANGE)
    changes.advance(change_pk)


@shared_task(name=queue.Work.QUARANTINE)
def send_quarantined_again(_: int) -> None:
    """Send a part of what was asked for, then let loads have their turn."""
    queue.answered(0, queue.Work.QUARANTINE)
    if resend.resend_waiting(SLICE_SECONDS):
        queue.send(0, queue.Work.QUARANTINE)


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
        head = reader.barrier(conn)
    behind = Connection.objects.filter(
        enabled=True, destination__enabled=True, position__lt=head
    ).exclude(retry_at__gt=timezone.now())
    waiting: dict[queue.Work, QuerySet[Any]] = {
        queue.Work.LOAD: behind,
        queue.Work.REPLAY: _replays(),
        queue.Work.ERASURE: people_erasure.unfinished_erasures(),
        queue.Work.CHANGE: IdentityChange.objects.awaiting_worker(),
    }
    for work, found in waiting.items():
        for pk in found.values_list("pk", flat=True):
            _ring(pk, work, anew=anew)
    if resend.waiting_requests().exists():
        _ring(0, queue.Work.QUARANTINE, anew=anew)


def _ring(pk: int, work: queue.Work, *, anew: bool) -> None:
    if anew:
        queue.answered(pk, work)
    queue.send(pk, work)


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
        partitions.ensure_partitions(conn, timezone.now().date(), PARTITION_DAYS_AHEAD)
        counts.advance(conn)  # nothing may be dropped before it is counted
        ledger.settle()
        retention.keep_within(conn, retention.Limits.from_settings(), timezone.now())
        counts.fold(conn, timezone.now())
    ledger.forget_old(timezone.now())
    quarantine.delete_old()
    history.forget_old()
    changes.delete_old(timezone.now())


@shared_task
def count_log() -> None:
    """Keep the ledger's counts close behind the log."""
    heartbeat.beat()
    with log_reader() as conn:
        if counts.advance(conn, COUNT_SECONDS):
            ledger.settle()


@shared_task
def check_identities() -> None:
    """Compare each destination's identities with what their links give, once a night."""
    self_check.check_all()


@shared_task
def widen_and_reapply(
    destination_pk: int, schema: str, table: str, column: str, user_pk: int
) -> None:
    """Reapply a column's discards."""
    reapply(Column(destination_pk, schema, table, column), user_pk)
