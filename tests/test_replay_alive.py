"""A replay by the worker of a running instance: killed on the way, with loads in between."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from psycopg.sql import SQL

from tests.support.http import post
from tests.support.instance import event_count_and_last_id, has_row, table_identifier
from tests.support.wait import wait_for

EVENTS = 3_000
BEGIN = """
from destinations.models import Connection
from events.loads import replays
print(replays.begin_replay(Connection.objects.get(), None).cursor_id)
"""


@pytest.fixture
def small_chunks(instance):
    """The instance with a worker that needs many chunks for little."""
    with instance.chunks_of(20):
        yield instance


def send(instance, names):
    for first in range(0, len(names), 500):
        batch = [
            {"type": "track", "event": "Replayed", "messageId": name, "userId": "replayed"}
            for name in names[first : first + 500]
        ]
        post(instance, "/v1/batch", {"batch": batch})


def cursor(warehouse, cursor_id):
    query = "SELECT position, loaded FROM rudder_identity.rudder_cursors WHERE connection_id = %s"
    return warehouse.execute(query, [cursor_id]).fetchone() or (0, 0)


def test_a_replay_survives_a_kill_and_loads_continue(small_chunks):
    instance = small_chunks
    names = [f"replay-{uuid.uuid4()}" for _ in range(EVENTS)]
    with psycopg.connect(instance.warehouse_dsn, autocommit=True) as warehouse:
        send(instance, names)
        wait_for(lambda: has_row(warehouse, instance, "tracks", names[-1]))
        count, last = event_count_and_last_id(instance)
        warehouse.execute(SQL("TRUNCATE {}").format(table_identifier(instance, "replayed")))
        replay = int(instance.manage("shell", "-v0", "-c", BEGIN).split()[-1])
        wait_for(lambda: cursor(warehouse, replay)[1] > 0)

        instance.kill_worker()
        killed_at, _ = cursor(warehouse, replay)
        instance.start_worker()
        wait_for(lambda: cursor(warehouse, replay)[0] > killed_at)
        late = f"late-{uuid.uuid4()}"
        post(instance, "/v1/track", {"userId": "u", "event": "Late", "messageId": late})
        wait_for(lambda: has_row(warehouse, instance, "tracks", late))
        late_was_first = cursor(warehouse, replay)[0] < last
        wait_for(lambda: cursor(warehouse, replay)[0] >= last, 180)

        query = SQL("SELECT id FROM {}").format(table_identifier(instance, "replayed"))
        loaded = [row[0] for row in warehouse.execute(query)]
        replayed = cursor(warehouse, replay)
    assert killed_at < last
    assert late_was_first
    assert sorted(loaded) == sorted(names)
    assert replayed == (last, count)
