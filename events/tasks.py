"""The Celery tasks: each looks up its record, runs a part of its work and queues the rest."""

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
from events.loads.discards import DiscardColumn, reapply_column
from events.loads.run import run_due_load
from events.log import counts, partitions, reader, retention
from events.log.database import log_connection, log_reader
from events.people import changes, self_check
from events.people import erasure as people_erasure
from events.workers import heartbeat, queue

logger = logging.getLogger(__name__)

PARTITION_DAYS_AHEAD = 3
COUNT_SECONDS = 5.0
SLICE_SECONDS = 1.0
RUN_SECONDS = 10.0
"""After this time a worker turns to the next connection, even if events are pending."""


@shared_task(name=queue.Work.LOAD)
def load_connection(connection_pk: int) -> None:
    """Load the pending events of a connection, unless it waits after a failure."""
    queue.mark_taken(connection_pk)
    connection = (
        Connection.objects.select_related("source", "destination")
        .filter(pk=connection_pk, enabled=True, destination__enabled=True)
        .first()
    )
    if not connection or connection.is_waiting(timezone.now()):
        return
    if run_due_load(connection, RUN_SECONDS):
        queue.enqueue(connection_pk)


@shared_task(name=queue.Work.REPLAY)
def load_replay(replay_pk: int) -> None:
    """Load the next part of a replay, then let loads run."""
    queue.mark_taken(replay_pk, queue.Work.REPLAY)
    replay = replays.runnable_replays().filter(pk=replay_pk).first()
    if replay and replays.run_slice(replay):
        queue.enqueue(replay_pk, queue.Work.REPLAY)


@shared_task(name=queue.Work.ERASURE)
def continue_erasure(erasure_pk: int) -> None:
    """Run the next part of an erasure, then let loads run."""
    queue.mark_taken(erasure_pk, queue.Work.ERASURE)
    erasure = people_erasure.unfinished_erasures().filter(pk=erasure_pk).first()
    if erasure and people_erasure.run_slice(erasure):
        queue.enqueue(erasure_pk, queue.Work.ERASURE)


@shared_task(name=queue.Work.CHANGE)
def advance_change(change_pk: int) -> None:
    """Count the effect of a change of identities, or make a confirmed change."""
    queue.mark_taken(change_pk, queue.Work.CHANGE)
    changes.advance(change_pk)


@shared_task(name=queue.Work.QUARANTINE)
def send_quarantined_again(_: int) -> None:
    """Send some of the requested refused requests again, then let loads run."""
    queue.mark_taken(0, queue.Work.QUARANTINE)
    if resend.resend_waiting(SLICE_SECONDS):
        queue.enqueue(0, queue.Work.QUARANTINE)


@shared_task
def enqueue_waiting_work(*, is_worker_start: bool = False) -> None:
    """Queue all waiting work; at a worker's start also what a killed worker may have taken."""
    with log_reader() as conn:
        head = reader.barrier(conn)
    behind = Connection.objects.filter(
        enabled=True, destination__enabled=True, position__lt=head
    ).exclude(retry_at__gt=timezone.now())
    records: dict[queue.Work, QuerySet[Any]] = {
        queue.Work.LOAD: behind,
        queue.Work.REPLAY: replays.runnable_replays(),
        queue.Work.ERASURE: people_erasure.unfinished_erasures(),
        queue.Work.CHANGE: IdentityChange.objects.awaiting_worker(),
    }
    keys = [
        (pk, work) for work, rows in records.items() for pk in rows.values_list("pk", flat=True)
    ]
    if resend.waiting_requests().exists():
        keys.append((0, queue.Work.QUARANTINE))
    for pk, work in keys:
        if is_worker_start:
            queue.mark_taken(pk, work)
        queue.enqueue(pk, work)


@shared_task
def maintain_destinations() -> None:
    """Do the work that loads left for later, in each enabled destination."""
    for destination in Destination.in_use():
        try:
            kind = destination_type(destination.type)
            kind.upkeep(destination.config, destination.secrets)
        except (DestinationError, DestinationUnavailableError, ChunkRefusedError) as error:
            logger.warning("upkeep failed destination=%s: %s", destination.pk, error)


@shared_task
def maintain_log() -> None:
    """Create the log's partitions of the coming days, and delete all history that is too old."""
    with log_connection() as conn:
        partitions.ensure_partitions(conn, timezone.now().date(), PARTITION_DAYS_AHEAD)
        counts.advance_counts(conn)  # nothing may be dropped before it is counted
        ledger.settle_standings()
        retention.drop_due_days(conn, retention.Limits.from_settings(), timezone.now())
        counts.fold_old_minutes(conn, timezone.now())
    ledger.delete_old(timezone.now())
    quarantine.delete_old()
    history.delete_old()
    changes.delete_old(timezone.now())


@shared_task
def count_log() -> None:
    """Count new events of the log for the charts and the ledger."""
    heartbeat.record_beat()
    with log_reader() as conn:
        if counts.advance_counts(conn, COUNT_SECONDS):
            ledger.settle_standings()


@shared_task
def check_identities() -> None:
    """Compare the stored identities of each destination with their links, once a night."""
    self_check.check_all()


@shared_task
def reapply_column_discards(
    destination_pk: int, schema: str, table: str, column: str, user_pk: int
) -> None:
    reapply_column(DiscardColumn(destination_pk, schema, table, column), user_pk)
