"""Loads into every version of Postgres that is found, with the rights that the docs list."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime

import psycopg
import pytest
from django.core.cache import cache

from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection_check import STEPS, check_connection
from events.loads import replays
from events.loads.run import run_load
from events.log import writer
from events.models import Load
from rudderhub.env import ROOT
from tests.e2e.postgres import found, running
from tests.support.events import parsed_event
from tests.support.factories import make_connection, make_destination, make_source

EVENTS = 2_000
SUPPORTED = {15, 16, 17, 18}
TABLES = {
    "track": "tracks",
    "page": "pages",
    "identify": "identifies",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}

pytestmark = [pytest.mark.e2e, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def mix(tmp_path_factory):
    """Realistic events, as the gateway stores them."""
    path = tmp_path_factory.mktemp("mix") / "events.jsonl"
    generator = ROOT / "tests" / "cases" / "gen_mix_10k.py"
    subprocess.run([sys.executable, generator, path, str(EVENTS)], check=True)  # noqa: S603
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module", params=found(), ids=str)
def server(request):
    with running(request.param) as server:
        yield server


@pytest.fixture
def warehouse(server, monkeypatch):
    """An empty database made by the statements of the docs, as its administrator sees it."""
    if server.certificate:
        monkeypatch.setenv("PGSSLROOTCERT", str(server.certificate))
    database, readers, _ = statements()
    with psycopg.connect(server.url("postgres"), autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS warehouse")
        admin.execute("DROP ROLE IF EXISTS rudderhub")
        admin.execute("DROP ROLE IF EXISTS analyst")
        for statement in database:
            admin.execute(statement)
    with psycopg.connect(server.url("warehouse"), autocommit=True) as admin:
        for statement in readers:
            admin.execute(statement)
        yield admin


@pytest.fixture
def connection(server, warehouse):
    """A destination with the strictest TLS that the server can do."""
    cache.clear()
    config = {
        "host": "localhost",
        "port": server.port,
        "database": "warehouse",
        "user": "rudderhub",
        "sslmode": "verify-full" if server.certificate else "prefer",
    }
    destination = make_destination(config, {"password": "choose a long one"})
    yield make_connection(make_source(name="Shop"), destination)
    writer.close_writer()


def statements():
    """The SQL of docs/how-to/warehouse.md, a list a block."""
    page = (ROOT / "docs" / "how-to" / "warehouse.md").read_text()
    blocks = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    return [[line for line in block.splitlines() if line] for block in blocks]


def send(connection, events):
    writer.append(connection.source_id, datetime.now(UTC), list(map(parsed_event, events)), 30)


def counts(warehouse):
    return {
        kind: warehouse.execute(f"SELECT count(*) FROM shop.{table}").fetchone()[0]  # noqa: S608
        for kind, table in TABLES.items()
    }


def test_the_supported_versions_that_were_found_are_named(request, capsys):
    majors = {each.major for each in found()}
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    missing = ", ".join(map(str, sorted(SUPPORTED - majors))) or "none"

    with capsys.disabled():
        reporter.write_line(f"\nfound {', '.join(map(str, found()))}; missing: {missing}")

    assert majors & SUPPORTED


def test_the_check_of_the_admin_passes(server, connection):
    destination = connection.destination

    steps = check_connection(PostgresConfig.from_config(destination.config, destination.secrets))

    assert [(step.name, step.ok) for step in steps] == [(name, True) for name in STEPS]
    assert ("the connection is encrypted" in [step.detail for step in steps]) == bool(
        server.certificate
    )


def test_a_realistic_mix_is_loaded_whole_and_once(connection, warehouse, mix):
    sent = Counter(event["type"] for event in mix)
    people = {event["userId"] for event in mix if event["type"] == "identify"}
    send(connection, mix)

    run_load(connection)
    first = counts(warehouse)
    send(connection, mix)
    run_load(connection)
    replay = replays.begin_replay(connection, None)
    while replays.run_slice(replay):
        pass

    replay.refresh_from_db()
    assert first == {kind: sent[kind] for kind in TABLES}
    assert counts(warehouse) == first
    assert warehouse.execute("SELECT count(*) FROM shop.users").fetchone() == (len(people),)
    assert (replay.state, replay.events) == ("succeeded", 2 * len(mix))
    assert [load.state for load in Load.objects.all()] == ["succeeded", "succeeded"]
    profiles = "SELECT count(*) FROM rudder_identity.rudder_profiles WHERE user_id IS NOT NULL"
    assert warehouse.execute(profiles).fetchone()[0] >= len(people)


def test_columns_are_added_widened_and_discarded_into(connection, warehouse, mix):
    event = {**mix[0], "type": "track", "event": "Sized"}
    send(connection, [{**event, "messageId": "s1", "properties": {"size": 1, "ok": True}}])
    run_load(connection)
    send(
        connection, [{**event, "messageId": "s2", "properties": {"size": 1.5, "ok": "no", "n": 1}}]
    )

    run_load(connection)

    rows = warehouse.execute("SELECT id, size::text, ok, n FROM shop.sized ORDER BY id").fetchall()
    discards = warehouse.execute("SELECT row_id, column_name FROM shop.rudder_discards").fetchall()
    assert rows == [("s1", "1", True, None), ("s2", "1.5", None, 1)]
    assert discards == [("s2", "ok")]


def test_the_user_of_the_docs_is_no_more_than_a_user(connection, warehouse, mix):
    send(connection, mix[:50])
    run_load(connection)

    owned = warehouse.execute(
        "SELECT DISTINCT nspname FROM pg_namespace WHERE nspowner = 'rudderhub'::regrole ORDER BY 1"
    ).fetchall()
    role = warehouse.execute(
        """
        SELECT rolsuper, rolcreatedb, rolcreaterole, rolbypassrls
        FROM pg_roles WHERE rolname = 'rudderhub'
        """
    ).fetchone()
    assert [name for (name,) in owned] == ["rudder_identity", "shop"]
    assert not any(role)


def test_an_analyst_reads_and_changes_nothing(server, connection, warehouse, mix):
    send(connection, mix)
    run_load(connection)
    _, _, later = statements()
    for statement in later:
        warehouse.execute(statement)

    url = server.url("warehouse", "analyst", "choose%20another%20one")
    with psycopg.connect(url, autocommit=True) as analyst:
        seen = analyst.execute("SELECT count(*) FROM shop.tracks_resolved").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("DELETE FROM shop.tracks")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("CREATE SCHEMA mine")

    assert seen == (Counter(event["type"] for event in mix)["track"],)


@pytest.mark.parametrize(
    "server", [each for each in found() if each.knows_tls], indirect=True, ids=str
)
def test_a_server_with_another_certificate_is_refused(server, connection, monkeypatch, tmp_path):
    other = tmp_path / "root.crt"
    subprocess.run(  # noqa: S603
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
            *("-keyout", tmp_path / "key", "-out", other),
        ],
        check=True,
        capture_output=True,
    )
    monkeypatch.setenv("PGSSLROOTCERT", str(other))
    destination = connection.destination

    last = check_connection(PostgresConfig.from_config(destination.config, destination.secrets))[-1]

    assert (last.name, last.ok) == ("TLS", False)
