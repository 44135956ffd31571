from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection as database
from django.utils import timezone

from destinations.interface import DestinationError
from events.loads import replays
from events.loads.run import run_load
from events.log import reader, writer
from events.log.database import log_connection
from events.log.retention import Limits, drop_due_days
from events.models import DeadLetter, Load, Loss, Replay
from events.tasks import enqueue_waiting_work, load_replay
from events.workers.locks import Lock, try_lock
from rudderhub.env import ROOT
from tests.support.connections import send
from tests.support.database import process_environment
from tests.support.events import NOW, event, parsed_event, track
from tests.support.wait import wait_for
from tests.support.warehouse import rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _clean_log():
    cache.clear()
    with database.cursor() as cursor:
        cursor.execute("TRUNCATE events_event")


def run(replay):
    while replays.run_slice(replay):
        pass
    replay.refresh_from_db()


def ledger(warehouse):
    return rows(
        warehouse,
        """
        SELECT connection_id > 0, position, loaded FROM rudder_identity.rudder_cursors
        ORDER BY connection_id DESC
        """,
    )


def test_a_dropped_table_is_filled_again(connection, warehouse):
    send(connection, *(track(f"m{number}", event="A") for number in range(5)))
    run_load(connection)
    before = rows(warehouse, "SELECT id, event_text, user_id FROM shop.tracks ORDER BY id")
    warehouse.execute("DROP TABLE shop.tracks CASCADE")

    replay = replays.begin_replay(connection, None)
    run(replay)

    assert rows(warehouse, "SELECT id, event_text, user_id FROM shop.tracks ORDER BY id") == before
    assert (replay.state, replay.events, replay.expected, replay.percent) == (
        "succeeded",
        5,
        5,
        100,
    )


def test_a_replay_changes_nothing_that_is_there(connection, warehouse):
    send(
        connection,
        track("m1", event="A"),
        event("m2", "identify", traits={"plan": "pro"}, userId="u1"),
    )
    run_load(connection)
    before = contents(warehouse)

    run(replays.begin_replay(connection, None))

    assert contents(warehouse) == before


def contents(warehouse):
    return [
        rows(warehouse, "SELECT * FROM shop.tracks ORDER BY id"),
        rows(warehouse, "SELECT * FROM shop.identifies ORDER BY id"),
        rows(warehouse, "SELECT to_jsonb(users) - 'uuid_ts' FROM shop.users ORDER BY id"),
        rows(warehouse, "SELECT * FROM rudder_identity.rudder_profiles ORDER BY rudder_id"),
    ]


def test_a_replay_moves_a_cursor_of_its_own(connection, warehouse):
    send(connection, track("m1", event="A"), track("m2", event="A"))
    run_load(connection)
    ((_, position, _),) = ledger(warehouse)

    run(replays.begin_replay(connection, None))

    assert ledger(warehouse) == [(True, position, 2), (False, position, 2)]


def test_a_replay_can_begin_at_a_time(connection, warehouse):
    for hour in range(4):
        at = NOW + timedelta(hours=hour)
        send(connection, track(f"m{hour}", at, event="A"), received_at=at)
    run_load(connection)
    warehouse.execute("TRUNCATE shop.tracks")

    replay = replays.begin_replay(connection, NOW + timedelta(hours=2))
    run(replay)

    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("m2",), ("m3",)]
    assert replay.expected == 2


def test_a_preview_counts_the_connections_own_events_only(connection):
    other = track("elsewhere", event="A")
    send(connection, track("m1", event="A"), track("m2", event="A"))
    writer.append(connection.source_id + 1, NOW, [parsed_event(other)], timeout_seconds=60)
    send(connection, track("m3", event="A"))
    run_load(connection)

    span = replays.replay_range(connection, None)

    assert (span.events, span.max_events) == (3, 4)
    assert not Replay.objects.exists()


def test_events_that_are_pending_are_left_to_the_load(connection, warehouse):
    send(connection, track("m1", event="A"))
    run_load(connection)
    send(connection, track("m2", event="A"))

    run(replays.begin_replay(connection, None))
    before = rows(warehouse, "SELECT id FROM shop.tracks")
    run_load(connection)

    assert before == [("m1",)]
    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("m1",), ("m2",)]


def test_loads_continue_while_a_replay_runs(connection, warehouse, settings):
    settings.LOAD_CHUNK_EVENTS = 1
    send(connection, track("m1", event="A"), track("m2", event="A"), track("m3", event="A"))
    run_load(connection)
    replay = replays.begin_replay(connection, None)
    session = hold(replay)
    send(connection, track("m4", event="A"))

    run_load(connection)

    assert rows(warehouse, "SELECT max(id) FROM shop.tracks") == [("m4",)]
    session.close()


def hold(replay):
    """As a worker in the middle of the replay: it has the replay's lock."""
    conn = log_connection()
    lock = try_lock(conn, Lock.REPLAY, replay.pk)
    assert lock.__enter__()
    return conn


def test_a_load_and_a_replay_of_the_same_users_at_once_both_end(connection, warehouse, settings):
    settings.LOAD_CHUNK_EVENTS = 50
    people = [event(f"i{n}", "identify", userId=f"u{n % 40}", traits={"n": n}) for n in range(400)]
    send(connection, *people)
    run_load(connection)
    replay = replays.begin_replay(connection, None)
    send(connection, *(event(f"j{n}", "identify", userId=f"u{n % 40}") for n in range(400)))
    thread = threading.Thread(target=in_thread, args=(replay,))
    thread.start()

    run_load(connection)
    thread.join()

    replay.refresh_from_db()
    assert (replay.state, replay.failures) == ("succeeded", 0)
    assert rows(warehouse, "SELECT count(*) FROM shop.identifies") == [(800,)]
    assert rows(warehouse, "SELECT count(*), sum(n) FROM shop.users") == [
        (40, sum(range(360, 400)))
    ]
    assert [load.state for load in Load.objects.all()] == ["succeeded", "succeeded"]


def in_thread(replay):
    try:
        run(replay)
    finally:
        database.close()


def test_one_replay_of_a_connection_runs_at_a_time(connection):
    replays.begin_replay(connection, None)

    with pytest.raises(DestinationError, match="is running; wait until it ends, or cancel it"):
        replays.begin_replay(connection, None)


def test_a_cancelled_replay_stops_and_another_may_begin(connection, warehouse, settings):
    settings.LOAD_CHUNK_EVENTS = 1
    send(connection, track("m1", event="A"), track("m2", event="A"))
    run_load(connection)
    replay = replays.begin_replay(connection, None)

    cancelled = replays.cancel_replay(replay)
    run(replay)

    assert cancelled
    assert (replay.state, replay.events) == ("cancelled", 0)
    assert not replays.cancel_replay(replay)
    assert replays.begin_replay(connection, None).pk != replay.pk


def test_a_replay_of_a_paused_connection_waits(connection):
    send(connection, track("m1", event="A"))
    run_load(connection)
    replay = replays.begin_replay(connection, None)
    connection.enabled = False
    connection.save()

    run(replay)

    assert (replay.state, replay.events) == ("running", 0)


def test_a_replay_waits_for_an_unavailable_warehouse_and_continues(connection, warehouse):
    send(connection, track("m1", event="A"))
    run_load(connection)
    replay = replays.begin_replay(connection, None)
    destination, port = connection.destination, connection.destination.config["port"]
    destination.config["port"] = 1
    destination.save()
    run(replay)
    waiting = (replay.state, replay.failures, "refused" in replay.error)
    destination.config["port"] = port
    destination.save()
    replay.retry_at = timezone.now()
    replay.save()

    run(replay)

    assert waiting == ("running", 1, True)
    assert (replay.state, replay.error) == ("succeeded", "")


def test_a_dead_letter_that_loads_now_is_one_no_more(connection, warehouse):
    send(connection, track("m1", event="A"), event("m2", "nonsense", userId="u1"))
    run_load(connection)
    letter = DeadLetter.objects.get()
    DeadLetter.objects.create(
        connection=connection, event_id=letter.event_id - 1, message_id="m1", reason="an old fault"
    )

    run(replays.begin_replay(connection, None))

    still_open = DeadLetter.objects.filter(state="open")
    assert [(letter.message_id, letter.attempts) for letter in still_open] == [("m2", 2)]


def test_events_before_the_start_of_a_connection_can_be_replayed(connection, warehouse):
    send(connection, track("old", event="A"))
    with log_connection() as conn:
        connection.start_position = reader.barrier(conn)
    connection.save()
    send(connection, track("new", event="A"))
    run_load(connection)

    run(replays.begin_replay(connection, None))

    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("new",), ("old",)]


def test_a_day_that_a_replay_still_reads_is_not_dropped(connection):
    send(connection, track("m1", event="A"))
    run_load(connection)
    replay = replays.begin_replay(connection, None)
    later = NOW + timedelta(days=40)
    with log_connection() as conn:
        held = drop_due_days(conn, Limits(days=30), later)
        run(replay)
        dropped = drop_due_days(conn, Limits(days=30), later)

    assert (NOW.date() in held, NOW.date() in dropped) == (False, True)


def test_a_day_that_is_dropped_under_a_replay_is_no_loss_of_the_connection(connection):
    send(connection, event("m1", event="A"))
    run_load(connection)
    replays.begin_replay(connection, None)

    with log_connection() as conn:
        dropped = drop_due_days(conn, Limits(days=30, hard_days=35), NOW + timedelta(days=40))

    assert NOW.date() in dropped
    assert not Loss.objects.exists()


def test_the_task_queues_the_next_part(connection, settings):
    settings.LOAD_CHUNK_EVENTS = 1
    send(connection, track("m1", event="A"), track("m2", event="A"))
    run_load(connection)
    replay = replays.begin_replay(connection, None)
    cache.clear()

    load_replay(replay.pk)
    replay.refresh_from_db()

    assert (replay.state == "running") == bool(cache.get(f"queued:replay:{replay.pk}"))


def test_beat_enqueues_a_replay_after_its_worker_was_killed(connection):
    replay = replays.begin_replay(connection, None)

    enqueue_waiting_work()

    assert cache.get(f"queued:replay:{replay.pk}")


def test_the_command_replays_and_shows_progress(connection, warehouse):
    send(connection, track("m1", event="A"))
    run_load(connection)
    warehouse.execute("TRUNCATE shop.tracks")
    out = StringIO()

    call_command("replay", str(connection.pk), "--from", "2026-03-01", stdout=out)

    lines = out.getvalue().splitlines()
    assert lines[0].endswith(": 1 events")
    assert lines[1:] == [
        "100 % · 1 events loaded",
        "succeeded: 1 loaded, 0 skipped, 0 dead letters, 0 discards",
    ]
    assert rows(warehouse, "SELECT id FROM shop.tracks") == [("m1",)]


def test_a_dry_run_only_counts(connection):
    send(connection, track("m1", event="A"))
    run_load(connection)
    out = StringIO()

    call_command("replay", str(connection.pk), "--from", "oldest", "--dry-run", stdout=out)

    assert out.getvalue() == f"{connection}: 1 events to load again\n"
    assert not Replay.objects.exists()


@pytest.mark.parametrize(
    ("pk", "since", "message"),
    [
        (0, "oldest", "there is no connection 0"),
        (None, "yesterday", "--from is 'yesterday', expected 2026-03-01"),
        (None, "2026-13-01", "--from 2026-13-01"),
    ],
)
def test_the_command_rejects_invalid_arguments(connection, pk, since, message):
    with pytest.raises(CommandError, match=message):
        call_command("replay", str(connection.pk if pk is None else pk), "--from", since)


def test_a_killed_replay_continues_and_loads_each_event_once(connection, warehouse):
    send(connection, *(track(f"m{number}", event="A") for number in range(4000)))
    run_load(connection)
    replay = replays.begin_replay(connection, datetime(2026, 1, 1, tzinfo=UTC))
    killed = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", SLICES, str(replay.pk)],
        cwd=ROOT,
        env=process_environment(RUDDERHUB_LOAD_CHUNK_EVENTS="100"),
    )
    wait_for(lambda: loaded_by_replays(warehouse) > 0)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    reached = loaded_by_replays(warehouse)

    run(replay)

    assert 0 < reached < 4000
    assert replay.state == "succeeded"
    assert loaded_by_replays(warehouse) == 4000
    assert rows(warehouse, "SELECT count(*) FROM shop.tracks") == [(4000,)]


def loaded_by_replays(warehouse):
    query = "SELECT sum(loaded) FROM rudder_identity.rudder_cursors WHERE connection_id < 0"
    return rows(warehouse, query)[0][0] or 0


SLICES = """
import sys, django
django.setup()
from events.loads import replays
from events.models import Replay
replay = Replay.objects.get(pk=sys.argv[1])
while replays.run_slice(replay):
    pass
"""
