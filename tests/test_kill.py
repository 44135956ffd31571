"""kill -9 of the worker in the middle of loads loses nothing and doubles nothing."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid

import psycopg
import pytest

from tests.waiting import wait_for

EVENTS = 20_000
KILLS = 10
SMALL_CHUNKS = {"RUDDERHUB_LOAD_CHUNK_EVENTS": "200"}
WORKER = [sys.executable, "-m", "celery", "-A", "rudderhub", "worker", "--concurrency", "1"]


@pytest.fixture
def worker(instance):
    """Starts and kills workers of the instance, whole process groups at a time."""
    running = []

    def start():
        environ = instance.env | SMALL_CHUNKS
        options = ["--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        running.append(subprocess.Popen([*WORKER, *options], env=environ, start_new_session=True))

    def kill():
        process = running.pop()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    instance.stop_worker()
    start()
    yield start, kill
    while running:
        kill()
    instance.start_worker()


def position(warehouse):
    row = warehouse.execute("SELECT max(position) FROM rudder_identity.rudder_cursors").fetchone()
    return row[0] or 0


def test_every_event_is_there_once_after_ten_kills(instance, worker):
    start, kill = worker
    chance = random.Random(20260301)
    names = [f"kill-{uuid.uuid4()}" for _ in range(EVENTS)]
    with psycopg.connect(instance.info["warehouse_dsn"], autocommit=True) as warehouse:
        instance.post("/v1/track", {"userId": "kill", "event": "First", "messageId": "kill-first"})
        wait_for(lambda: instance.has_row("tracks", "kill-first"), 30)
        send(instance, names)
        last = instance.log_head()

        pending_at_kills = []
        for _ in range(KILLS):
            reached = position(warehouse)
            wait_for(lambda reached=reached: position(warehouse) > reached, 60)
            time.sleep(chance.uniform(0, 0.3))
            kill()
            pending_at_kills.append(last - position(warehouse))
            start()
        wait_for(lambda: position(warehouse) >= last, 120)

        table = f'"{instance.info["namespace"]}".killed'
        loaded = warehouse.execute(f"SELECT id FROM {table}").fetchall()  # noqa: S608
        cursor = warehouse.execute(
            "SELECT sum(loaded), sum(dead_letters) FROM rudder_identity.rudder_cursors"
        ).fetchone()
    assert min(pending_at_kills) > 0
    assert sorted(row[0] for row in loaded) == sorted(names)
    assert cursor == (instance.log_count(), 0)


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
        instance.post("/v1/batch", {"batch": batch})
