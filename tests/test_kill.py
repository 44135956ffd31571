"""A kill -9 of the worker in the middle of loads loses nothing and doubles nothing."""

from __future__ import annotations

import random
import time
import uuid

import psycopg
import pytest
from psycopg.sql import SQL

from tests.support.http import post
from tests.support.instance import event_count_and_last_id, has_row, table_identifier
from tests.support.wait import wait_for

EVENTS = 20_000
CHUNK_EVENTS = 200
KILLS = 10


@pytest.fixture
def small_chunks(instance):
    """The instance with a worker that loads in many small chunks."""
    with instance.chunks_of(CHUNK_EVENTS):
        yield instance


def position(warehouse):
    query = "SELECT max(position) FROM rudder_identity.rudder_cursors WHERE connection_id > 0"
    return warehouse.execute(query).fetchone()[0]


def send(instance, names):
    for first in range(0, len(names), 500):
        batch = [
            {
                "type": "track",
                "event": "Killed",
                "messageId": name,
                "anonymousId": f"device-{number % 700}",
                "userId": f"user-{number % 300}",
                "properties": {"number": number},
            }
            for number, name in enumerate(names[first : first + 500], first)
        ]
        post(instance, "/v1/batch", {"batch": batch})


def test_every_event_is_there_once_after_ten_kills(small_chunks):
    instance, chance = small_chunks, random.Random(20260301)
    names = [f"kill-{uuid.uuid4()}" for _ in range(EVENTS)]
    with psycopg.connect(instance.warehouse_dsn, autocommit=True) as warehouse:
        first = f"first-{uuid.uuid4()}"
        post(instance, "/v1/track", {"userId": "u", "event": "First", "messageId": first})
        wait_for(lambda: has_row(warehouse, instance, "tracks", first))
        send(instance, names)
        count, last = event_count_and_last_id(instance)

        pending_at_kills = []
        for _ in range(KILLS):
            reached = position(warehouse)
            reached += chance.randrange(5) * CHUNK_EVENTS
            wait_for(lambda reached=reached: position(warehouse) > reached)
            time.sleep(chance.uniform(0, 0.03))  # somewhere in a chunk
            instance.kill_worker()
            pending_at_kills.append(last - position(warehouse))
            instance.start_worker()
        wait_for(lambda: position(warehouse) >= last)

        query = SQL("SELECT id FROM {}").format(table_identifier(instance, "killed"))
        loaded = [row[0] for row in warehouse.execute(query)]
        ledger = warehouse.execute(
            """
            SELECT sum(loaded), sum(dead_letters) FROM rudder_identity.rudder_cursors
            WHERE connection_id > 0  -- others are of replays
            """
        ).fetchone()
    assert min(pending_at_kills) > 0
    assert sorted(loaded) == sorted(names)
    assert ledger == (count, 0)
