from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from celery import current_app
from django.core.cache import cache
from django.db import connection as database
from django.utils import timezone
from kombu import Connection as Broker

from events.log import writer
from events.protocol.event import ParsedEvent
from events.tasks import enqueue_waiting_work, maintain_log
from events.workers import queue as workers_queue
from tests.support.factories import make_connection

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _clean():
    cache.clear()
    yield
    writer.close_writer()


@pytest.fixture
def queued_connection_pks():
    """The ids of the connections with a load in the queue."""

    def pks(connections):
        return [
            connection.pk for connection in connections if cache.get(f"queued:load:{connection.pk}")
        ]

    return pks


def send(source_pk):
    event = ParsedEvent("m1", "track", "", "u1", "", "{}")
    writer.append(source_pk, datetime.now(UTC), [event], timeout_seconds=60)


def test_beat_queues_loads_of_connections_that_are_behind(queued_connection_pks):
    behind, paused, waiting = make_connection(), make_connection(), make_connection()
    paused.enabled = False
    paused.save()
    waiting.retry_at = timezone.now() + timedelta(minutes=1)
    waiting.save()
    send(behind.source_id)
    loaded = make_connection(position=10**9)

    enqueue_waiting_work()

    assert queued_connection_pks([behind, paused, waiting, loaded]) == [behind.pk]


def test_work_is_in_the_queue_once(settings):
    connection = make_connection()
    with Broker(settings.CELERY_BROKER_URL) as broker:
        queue = broker.SimpleQueue("celery")
        queue.clear()

        workers_queue.enqueue(connection.pk)
        workers_queue.enqueue(connection.pk)
        twice = queue.qsize()
        workers_queue.mark_taken(connection.pk)
        workers_queue.enqueue(connection.pk)

        assert (twice, queue.qsize()) == (1, 2)
        queue.clear()
        queue.close()


@pytest.mark.parametrize("work", workers_queue.Work)
def test_all_work_is_a_task(work):
    assert work in current_app.tasks


def test_beat_sends_tasks_that_a_worker_knows(settings):
    sent = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}

    assert sent <= current_app.tasks.keys()


def test_partitions_are_created_ahead():
    maintain_log()

    with database.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events_event'::regclass"
        )
        assert cursor.fetchone()[0] >= 3
