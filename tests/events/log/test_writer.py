from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from django.db import connection

from events.log import partitions
from events.log import reader as event_reader
from events.log import writer as log_writer
from events.log.database import log_connection, log_reader
from events.models import Event
from events.protocol.event import ParsedEvent
from events.workers.locks import Lock, try_lock
from tests.support.wait import wait_for

NOW = datetime(2026, 3, 1, 12, 0, 0, 5000, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


def parsed_event(message_id, **fields):
    defaults = {"type": "track", "event": "Clicked", "user_id": "u1", "anonymous_id": ""}
    return ParsedEvent(message_id=message_id, payload="{}", **(defaults | fields))


@pytest.fixture(autouse=True)
def _writer():
    yield
    log_writer.close_writer()


@pytest.fixture
def reader():
    with log_reader() as conn:
        yield conn


def test_an_append_is_committed_when_it_returns():
    log_writer.append(7, NOW, [parsed_event("m1")], timeout_seconds=60)

    stored = Event.objects.values(
        "received_at", "source_id", "message_id", "type", "event", "user_id", "payload"
    ).get()
    assert stored == {
        "received_at": NOW,
        "source_id": 7,
        "message_id": "m1",
        "type": "track",
        "event": "Clicked",
        "user_id": "u1",
        "payload": "{}",
    }


def test_the_events_of_a_request_keep_their_order():
    names = [f"m{number}" for number in range(200)]

    log_writer.append(7, NOW, [parsed_event(name) for name in names], timeout_seconds=60)

    assert list(Event.objects.order_by("id").values_list("message_id", flat=True)) == names


def test_many_threads_share_transactions_and_lose_nothing():
    def send(number):
        log_writer.append(7, NOW, [parsed_event(f"m{number}")], timeout_seconds=60)

    threads = [threading.Thread(target=send, args=[number]) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(Event.objects.values_list("message_id", flat=True)) == {
        f"m{number}" for number in range(64)
    }


def test_a_partition_is_created_for_the_day():
    log_writer.append(7, NOW, [parsed_event("m1")], timeout_seconds=60)

    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM events_event")
        assert cursor.fetchall() == [("events_event_20260301",)]


def test_text_that_looks_like_copy_syntax_is_kept():
    odd = "a\tb\nc\\.\\N"

    log_writer.append(7, NOW, [parsed_event("m1", event=odd)], timeout_seconds=60)

    assert Event.objects.get().event == odd


def test_an_event_that_postgres_refuses_refuses_no_other_request():
    errors = []

    def send(name):
        try:
            log_writer.append(7, NOW, [parsed_event(name)], timeout_seconds=60)
        except psycopg.Error as error:
            errors.append((name, type(error).__name__))

    names = ["good 1", "bad \x00", "good 2"]
    threads = [threading.Thread(target=send, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [name for name, _ in errors] == ["bad \x00"]
    assert set(Event.objects.values_list("message_id", flat=True)) == {"good 1", "good 2"}


def test_a_lost_connection_is_an_error_and_the_next_append_reconnects():
    log_writer.append(7, NOW, [parsed_event("m1")], timeout_seconds=60)
    with log_connection() as admin:
        admin.execute(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND query = 'COMMIT'
            """
        )

    with pytest.raises(log_writer.LogUnavailableError):
        log_writer.append(7, NOW, [parsed_event("m2")], timeout_seconds=60)
    log_writer.append(7, NOW, [parsed_event("m3")], timeout_seconds=60)

    assert set(Event.objects.values_list("message_id", flat=True)) == {"m1", "m3"}


def test_an_append_that_cannot_commit_in_time_is_unavailable():
    with log_connection() as blocker:
        blocker.execute("SELECT pg_advisory_lock(%s)", [event_reader.LOG_LOCK])

        with pytest.raises(log_writer.LogUnavailableError, match="no commit within"):
            log_writer.append(7, NOW, [parsed_event("m1")], timeout_seconds=0.2)


def test_a_commit_takes_no_more_requests_once_it_has_its_events():
    """Else one that waits for many would come too late for all of them."""
    names = [parsed_event(f"m{number}") for number in range(log_writer.GROUP_EVENTS // 2)]
    with log_connection() as blocker, ThreadPoolExecutor(9) as senders:
        blocker.execute("SELECT pg_advisory_lock(%s)", [event_reader.LOG_LOCK])
        sent = [senders.submit(log_writer.append, 7, NOW, names, 60) for _ in range(9)]
        wait_for(lambda: blocker.execute(WAITING_WRITERS).fetchone() == (1,))
        blocker.execute("SELECT pg_advisory_unlock(%s)", [event_reader.LOG_LOCK])
        assert [future.result() for future in sent] == [None] * 9

    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM events_event GROUP BY xmin::text")
        commits = [count for (count,) in cursor.fetchall()]
    assert sum(commits) == 9 * len(names)
    assert max(commits) <= log_writer.GROUP_EVENTS


WAITING_WRITERS = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
"""


def test_the_barrier_waits_for_ids_that_are_not_committed(reader):
    with log_connection() as writer, log_connection() as other:
        partitions.ensure_partitions(writer, NOW.date())
        writer.execute("BEGIN")
        writer.execute("SELECT pg_advisory_xact_lock_shared(%s)", [event_reader.LOG_LOCK])
        held = insert(writer, "slow")
        overtaking = insert(other, "fast")
        barriers = []
        thread = threading.Thread(target=lambda: barriers.append(event_reader.barrier(reader)))
        thread.start()
        thread.join(0.3)
        waited = thread.is_alive()
        writer.execute("COMMIT")
        thread.join()

    assert held < overtaking
    assert waited
    assert barriers == [overtaking]


def insert(conn, message_id):
    row = conn.execute(
        """
        INSERT INTO events_event
        (received_at, source_id, message_id, type, event, user_id, anonymous_id, payload)
        VALUES (%s, 7, %s, 'track', '', '', '', '{}')
        RETURNING id
        """,
        [NOW, message_id],
    ).fetchone()
    return row[0]


def test_an_empty_log_has_the_barrier_0(reader):
    assert event_reader.barrier(reader) == 0


def test_a_chunk_holds_one_source_in_order_up_to_the_barrier(reader):
    log_writer.append(7, NOW, [parsed_event("m1"), parsed_event("m2")], timeout_seconds=60)
    log_writer.append(8, NOW, [parsed_event("other")], timeout_seconds=60)
    barrier = event_reader.barrier(reader)
    log_writer.append(7, NOW, [parsed_event("later")], timeout_seconds=60)

    chunk = event_reader.read_chunk(reader, 7, 0, barrier, max_events=100, max_bytes=1000)

    assert [event.message_id for event in chunk.events] == ["m1", "m2"]
    assert (chunk.after, chunk.upto) == (0, barrier)


def test_a_full_chunk_ends_at_its_last_event(reader):
    log_writer.append(
        7, NOW, [parsed_event(f"m{number}") for number in range(5)], timeout_seconds=60
    )
    barrier = event_reader.barrier(reader)

    first = event_reader.read_chunk(reader, 7, 0, barrier, max_events=3, max_bytes=1000)
    second = event_reader.read_chunk(reader, 7, first.upto, barrier, max_events=3, max_bytes=1000)

    assert [event.message_id for event in first.events] == ["m0", "m1", "m2"]
    assert first.upto == first.events[-1].id
    assert [event.message_id for event in second.events] == ["m3", "m4"]
    assert second.upto == barrier


def test_only_one_session_holds_a_connections_lock():
    with (
        log_connection() as one,
        log_connection() as two,
        try_lock(one, Lock.LOAD, 7) as first,
        try_lock(two, Lock.LOAD, 7) as second,
        try_lock(two, Lock.LOAD, 8) as another,
    ):
        taken = (first, second, another)

    assert taken == (True, False, True)
