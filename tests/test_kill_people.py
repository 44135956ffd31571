"""Workers killed in the middle of the oracle's streams: the profiles come out as it says."""

from __future__ import annotations

import json
import random
import time
import urllib.request
from datetime import UTC, datetime

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from destinations.postgres.identity import graph_schema
from destinations.postgres.operations.rebuild import graph_differences
from destinations.warehouse.identity.statements import GraphOptions
from events.protocol.event import Envelope, InvalidEventError, parse_event
from tests.support.identity_graph import ORACLE, Graph
from tests.support.instance import RunningInstance
from tests.support.wait import wait_for

EVENTS = 300
KILLS = 4
CONFIGS = ({"hub_limit": 3}, {"blocked": True})
SET_UP = """
import json
from tests.support.factories import make_connection, make_destination, make_source
from tests.support.warehouse import address
config, secrets = address({dsn!r})
for number in range({count}):
    own = {{"identity_schema": f"people_{{number}}", "namespace": f"events_{{number}}"}}
    destination = make_destination(config | own, secrets)
    sources = [make_source() for _ in range(2)]
    for source in sources:
        make_connection(source, destination)
    print(json.dumps([destination.public_id, [source.public_id for source in sources]]))
"""


@pytest.fixture
def running():
    """An instance of its own, that loads in small chunks."""
    running = RunningInstance()
    running.environment["RUDDERHUB_LOAD_CHUNK_EVENTS"] = "20"
    try:
        running.start()
        yield running
    finally:
        running.stop()


class Stream(Graph):
    """A graph of the instance, with the oracle's events for it."""

    def __init__(self, warehouse, number, destination_id, sources):
        config = CONFIGS[number]
        self.conn, self.schema, self.sources = warehouse, f"people_{number}", sources
        self.namespace = f"events_{number}"
        options = GraphOptions(hub_limit=config.get("hub_limit"), size_limit=None)
        graph_schema.ensure_schema(warehouse, self.schema, destination_id, options)
        if not config.get("blocked"):
            self.rows("DELETE FROM {schema}.identity_rule_list RETURNING 1")
        self.salt = self.rows("SELECT salt FROM {schema}.identity_meta")[0][0]
        events = ORACLE.Generator(number + 100, EVENTS).run()
        self.events = [event for event in events if passes(event)]
        self.solved = ORACLE.solve(
            self.events, config.get("blocked", False), config.get("hub_limit")
        )

    def send(self, base_url):
        for number, source in enumerate(self.sources):
            own = [e for e in self.events if int(e["messageId"][2:9]) % 2 == number]
            for first in range(0, len(own), 100):
                replay(base_url, source, own[first : first + 100])

    def row_ids(self):
        query = SQL("SELECT id FROM {}").format(Identifier(self.namespace, "tracks"))
        return sorted(row[0] for row in self.conn.execute(query))


def passes(event):
    """Whether the gateway takes the event."""
    envelope = Envelope(datetime.now(UTC), "", lambda: "id", keeps_receipt=True)
    try:
        parse_event(dict(event), None, envelope)
    except InvalidEventError:
        return False
    return True


def replay(base_url, source_id, events):
    request = urllib.request.Request(  # noqa: S310
        f"{base_url}/internal/v1/replay",
        data=json.dumps({"batch": events}).encode(),
        headers={"Content-Type": "application/json", "X-Rudder-Source-Id": source_id},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        assert response.read() == b"OK"


def set_up(instance, warehouse):
    code = SET_UP.format(dsn=instance.warehouse_dsn, count=len(CONFIGS))
    lines = instance.manage("shell", "-v", "0", "-c", code).splitlines()
    return [Stream(warehouse, n, *json.loads(line)) for n, line in enumerate(lines)]


def test_profiles_are_those_of_the_oracle_after_workers_were_killed(running):
    chance = random.Random(20260302)
    with psycopg.connect(running.warehouse_dsn, autocommit=True) as warehouse:
        streams = set_up(running, warehouse)
        running.kill_worker()
        for stream in streams:
            stream.send(running.base_url)
        last = newest(running)

        under_way = []
        for _ in range(KILLS):
            reached = positions(streams)
            running.start_worker()
            wait_for(lambda reached=reached: positions(streams) != reached)
            time.sleep(chance.uniform(0, 0.2))
            running.kill_worker()
            under_way.append([each for each in positions(streams) if 0 < each < last])
        running.start_worker()
        wait_for(lambda: min(positions(streams)) >= last)

        assert all(under_way)
        for stream in streams:
            tracks = {e["messageId"] for e in stream.events if e["type"] == "track"}
            assert stream.clusters() == stream.expected(stream.solved["clusters"])
            assert stream.row_ids() == sorted(tracks)
            assert graph_differences(warehouse, stream.schema) == []


def positions(streams):
    """Of both connections of each graph."""
    query = "SELECT position FROM {schema}.rudder_cursors ORDER BY connection_id"
    found = [row[0] for stream in streams for row in stream.rows(query)]
    return [*found, *[0] * (2 * len(streams) - len(found))]


def newest(instance):
    with psycopg.connect(instance.environment["RUDDERHUB_DATABASE_URL"]) as conn:
        return conn.execute("SELECT max(id) FROM events_event").fetchone()[0]
