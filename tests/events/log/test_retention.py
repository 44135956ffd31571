from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from django.db import connection as database
from django.utils import timezone

from events.log import writer
from events.log.database import log_connection
from events.log.partitions import ensure_partitions, log_partitions
from events.log.retention import Limits, drop_due_days
from events.models import DeadLetter, Event, Load, Loss, Quarantined
from events.protocol.event import ParsedEvent
from events.tasks import maintain_log
from tests.support.factories import make_admin, make_connection, make_event, make_source
from tests.support.wait import wait_for

NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)
MONTH = Limits(days=30)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def conn():
    """The retention's connection to a log without a day."""
    with log_connection() as conn:
        for partition in log_partitions(conn):
            conn.execute(f"DROP TABLE {partition.table}")
        yield conn
    writer.close_writer()


def days_ago(days):
    return NOW - timedelta(days=days)


def days_kept(conn):
    return [(NOW.date() - partition.day).days for partition in log_partitions(conn)]


def test_days_that_are_too_old_are_dropped(conn):
    for days in (40, 32, 31, 30, 1, 0):
        make_event(received_at=days_ago(days))

    dropped = drop_due_days(conn, MONTH, NOW)

    assert dropped == [days_ago(days).date() for days in (40, 32, 31)]
    assert days_kept(conn) == [30, 1, 0]
    assert Event.objects.count() == 3


def test_a_day_that_an_enabled_connection_has_not_loaded_stays(conn):
    old = make_event(received_at=days_ago(40))
    connection = make_connection(old.source, position=old.pk - 1)

    before = drop_due_days(conn, MONTH, NOW)
    connection.position = old.pk
    connection.save()
    after = drop_due_days(conn, MONTH, NOW)

    assert (before, after) == ([], [days_ago(40).date()])
    assert not Loss.objects.exists()


def test_a_connection_holds_only_the_events_of_its_source(conn):
    make_event(received_at=days_ago(40))
    make_connection(make_source(), position=0)

    drop_due_days(conn, MONTH, NOW)

    assert days_kept(conn) == []


def test_a_connection_holds_nothing_from_before_its_start(conn):
    old = make_event(received_at=days_ago(40))
    make_connection(old.source, start_position=old.pk)

    drop_due_days(conn, MONTH, NOW)

    assert days_kept(conn) == []


def test_the_hard_limit_drops_unloaded_events_and_records_the_loss(conn, caplog):
    source = make_source()
    events = [make_event(source, received_at=days_ago(40)) for _ in range(3)]
    connection = make_connection(source, position=events[0].pk)

    drop_due_days(conn, Limits(days=30, hard_days=35), NOW)

    loss = Loss.objects.get()
    assert days_kept(conn) == []
    assert (loss.connection, loss.day, loss.events) == (connection, days_ago(40).date(), 2)
    assert (loss.first_id, loss.last_id) == (events[1].pk, events[2].pk)
    assert "RUDDERHUB_RETENTION_HARD_DAYS" in loss.reason
    assert caplog.records[0].levelname == "ERROR"


def test_the_hard_limit_leaves_days_below_it(conn):
    old = make_event(received_at=days_ago(33))
    make_connection(old.source)

    drop_due_days(conn, Limits(days=30, hard_days=35), NOW)

    assert days_kept(conn) == [33]


def test_a_paused_connection_holds_nothing_but_its_loss_is_recorded(conn):
    old = make_event(received_at=days_ago(40))
    make_connection(old.source, enabled=False)

    drop_due_days(conn, MONTH, NOW)

    assert days_kept(conn) == []
    assert "paused" in Loss.objects.get().reason


def test_the_oldest_days_go_when_the_log_is_too_big(conn):
    for days in (3, 2, 1, 0):
        make_event(received_at=days_ago(days), payload="x" * 50_000)
    newest = sum(partition.size_bytes for partition in log_partitions(conn)[-2:])

    drop_due_days(conn, Limits(days=30, max_bytes=newest), NOW)

    assert days_kept(conn) == [1, 0]


def test_today_and_the_first_hour_after_it_are_never_dropped(conn):
    make_event(received_at=days_ago(1))
    make_event(received_at=days_ago(0))
    half_past_midnight = NOW.replace(hour=0, minute=30)

    drop_due_days(conn, Limits(days=30, max_bytes=1), half_past_midnight)

    assert days_kept(conn) == [1, 0]


def test_a_log_that_stays_too_big_is_warned_of(conn, caplog):
    make_connection(make_event(received_at=days_ago(3)).source)

    drop_due_days(conn, Limits(days=30, max_bytes=1), NOW)

    assert "not loaded yet by connection" in caplog.text
    assert "more than RUDDERHUB_RETENTION_GB allows" in caplog.text


def test_writers_continue_while_a_drop_waits_for_a_reader(conn):
    make_event(received_at=days_ago(40))
    source, now = make_source(), timezone.now()
    with log_connection() as setup:
        ensure_partitions(setup, now.date())
    with log_connection() as reader, log_connection() as watcher:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events_event")
        dropping = threading.Thread(target=keep_in_thread, args=(conn,))
        dropping.start()
        wait_for(lambda: is_waiting(watcher))

        writer.append(source.pk, now, [ParsedEvent("m1", "track", "", "u", "", "{}")], 5)

        stored = watcher.execute(
            "SELECT count(*) FROM events_event WHERE source_id = %s", [source.pk]
        )
        assert stored.fetchone() == (1,)
        assert dropping.is_alive()
        reader.execute("COMMIT")
        dropping.join()
    assert 40 not in days_kept(conn)


def keep_in_thread(conn):
    try:
        drop_due_days(conn, MONTH, NOW)
    finally:
        database.close()


def is_waiting(conn):
    query = "SELECT 1 FROM pg_stat_activity WHERE query LIKE %s AND wait_event_type = 'Lock'"
    return conn.execute(query, ["ALTER TABLE events_event DETACH%"]).fetchone()


def test_a_drop_that_was_killed_half_way_is_finished_by_the_next_run(conn):
    make_event(received_at=days_ago(40))
    with log_connection() as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events_event")
        dropping = threading.Thread(target=run_until_killed, daemon=True)
        dropping.start()
        with log_connection() as killer:
            wait_for(lambda: is_waiting(killer))
            killer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE %s",
                ["ALTER TABLE events_event DETACH%"],
            )
            dropping.join()
            half = killer.execute("SELECT count(*) FROM pg_inherits WHERE inhdetachpending")
            assert half.fetchone() == (1,)
        reader.execute("COMMIT")

    drop_due_days(conn, MONTH, NOW)

    assert days_kept(conn) == []
    assert conn.execute("SELECT to_regclass('events_event_20260219')").fetchone() == (None,)


def run_until_killed():
    with pytest.raises(psycopg.OperationalError), log_connection() as own:
        keep_in_thread(own)


def test_a_reader_that_stays_holds_up_neither_the_worker_nor_the_next_run(conn, caplog):
    limits = Limits(days=30, drop_seconds=1)
    make_event(received_at=days_ago(40))
    make_event(received_at=days_ago(39))
    with log_connection() as backup:
        backup.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        backup.execute("SELECT count(*) FROM events_event")

        during = [drop_due_days(conn, limits, NOW) for _ in range(2)]

        backup.execute("COMMIT")
    after = drop_due_days(conn, MONTH, NOW)

    assert during == [[], []]
    assert caplog.text.count("is in use and could not be dropped") == 2
    assert after == [days_ago(39).date()]
    assert conn.execute("SELECT to_regclass('events_event_20260219')").fetchone() == (None,)


def test_a_day_that_was_detached_by_hand_is_left_alone(conn):
    make_event(received_at=days_ago(40))
    conn.execute("ALTER TABLE events_event DETACH PARTITION events_event_20260219")

    drop_due_days(conn, MONTH, NOW)

    assert conn.execute("SELECT count(*) FROM events_event_20260219").fetchone() == (1,)
    conn.execute("DROP TABLE events_event_20260219")


def test_the_hourly_task_keeps_to_the_settings(conn, settings):
    settings.RETENTION_DAYS = 2
    make_event(received_at=timezone.now() - timedelta(days=5))
    make_event(received_at=timezone.now())

    maintain_log()

    assert Event.objects.count() == 1


def test_old_history_goes_and_the_rest_stays(settings):
    settings.LOAD_HISTORY_DAYS, settings.DEAD_LETTER_DAYS, settings.QUARANTINE_DAYS = 1, 2, 3
    connection, now = make_connection(), timezone.now()
    for days in range(5):
        then = now - timedelta(days=days, minutes=1)
        Load.objects.create(connection=connection, started_at=then, after_id=0, upto_id=0)
        DeadLetter.objects.create(connection=connection, created_at=then, event_id=days)
        Quarantined.objects.create(
            source=connection.source, received_at=then, status=400, body=b"", body_bytes=0
        )

    maintain_log()

    assert Load.objects.count() == 1
    assert DeadLetter.objects.count() == 2
    assert Quarantined.objects.count() == 3


def test_the_overview_and_a_list_show_a_loss(conn, client):
    client.force_login(make_admin())
    old = make_event(received_at=days_ago(40))
    make_connection(old.source)
    drop_due_days(conn, Limits(days=30, hard_days=30), NOW)

    overview = client.get("/admin/").content.decode()
    losses = client.get("/admin/events/loss/").content.decode()

    assert "Lost: 1 event of 2026-02-19 for" in overview
    assert "older than RUDDERHUB_RETENTION_HARD_DAYS" in losses
