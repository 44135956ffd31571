"""Identities the whole way: event log, load, SQL, and what operators do in between."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import connections

from destinations.models import Erasure
from destinations.postgres.identity import restamp
from destinations.postgres.operations import unmerge
from destinations.postgres.operations.rebuild import graph_differences
from destinations.warehouse.identity.statements import Identifier
from events.loads.run import run_load
from events.log import writer
from events.models import DeadLetter, Quarantined
from events.people import store
from events.people.erasure import erase_person, identifiers_to_erase
from events.people.erasure_preview import preview_erasure
from tests.support.events import NOW, event
from tests.support.identity_graph import ORACLE, SCENARIOS, anonymous, user
from tests.support.people import Hub, everything_stored

pytestmark = pytest.mark.django_db(transaction=True)

CONFIGS = ({}, {"blocked": True}, {"hub_limit": 3}, {"blocked": True, "hub_limit": 2})


@pytest.fixture(autouse=True)
def _writer():
    yield
    writer.close_writer()


@pytest.fixture
def hub(warehouse, warehouse_url):
    return Hub(warehouse, warehouse_url)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_gives_its_profiles_through_log_and_load(warehouse, warehouse_url, name):
    scenario = SCENARIOS[name]
    hub = Hub(warehouse, warehouse_url, scenario["config"])

    hub.play(scenario["given"])

    assert hub.clusters() == hub.expected(scenario["profiles"])
    assert graph_differences(warehouse, hub.schema) == []


def test_destinations_are_islands(warehouse, warehouse_url):
    scenario = SCENARIOS["destinations-are-islands"]
    one = Hub(warehouse, warehouse_url)
    other = Hub(warehouse, warehouse_url, schema="other_identity")
    one.play(scenario["given"])
    other.play(scenario["given"])
    before = other.clusters()

    one.operate({"op": "erase_profile", "id": ["user_id", "u1"]})

    assert {rudder_id for rudder_id, _, _ in one.clusters().values()}.isdisjoint(
        rudder_id for rudder_id, _, _ in before.values()
    )
    assert other.clusters() == before


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_with_operators_gives_what_the_oracle_says(warehouse, warehouse_url, seed):
    config = CONFIGS[seed % 4]
    stream = ORACLE.add_ops(ORACLE.Generator(seed, 120).run(), random.Random(seed + 1))
    solved = ORACLE.solve(stream, config.get("blocked", False), config.get("hub_limit"))
    hub = Hub(warehouse, warehouse_url, config)

    hub.play(stream)
    assert hub.clusters() == hub.expected(solved["clusters"])
    hub.load(*(line for line in stream if line["type"] != "op"))

    assert hub.clusters() == hub.expected(solved["clusters"])
    assert graph_differences(warehouse, hub.schema) == []
    _assert_rows_belong(hub, solved)


def _assert_rows_belong(hub, solved):
    """Every event row stands under the profile that the oracle gives its message."""
    hub.run_upkeep()
    clusters = hub.expected(solved["clusters"])
    ids = [clusters[tuple(map(tuple, cluster["ids"]))][0] for cluster in solved["clusters"]]
    owners = solved["profile_of_message"]
    views = hub.conn.execute(
        "SELECT format('%I.%I', schemaname, viewname) FROM pg_views"
        " WHERE schemaname = 'web' AND viewname LIKE '%\\_resolved'"
        " AND viewname <> 'users_resolved'"
    )
    for (table,) in views.fetchall():
        for rudder_id, messages in hub.row_ids_by_profile(table).items():
            for message in messages:
                owner = owners[message]
                assert rudder_id == (None if owner is None else ids[owner]), (table, message)


@pytest.mark.parametrize("seed", range(20))
def test_four_loads_at_once_give_what_the_oracle_says(warehouse, warehouse_url, seed):
    config = CONFIGS[seed % 4]
    stream = _from_four_sources(ORACLE.Generator(seed, 150).run())
    solved = ORACLE.solve(stream, config.get("blocked", False), config.get("hub_limit"))
    hub = Hub(warehouse, warehouse_url, config, namespace="web")
    hub.append(*stream)

    def load(connection):
        run_load(connection)
        connections.close_all()

    threads = [
        threading.Thread(target=load, args=[connection]) for connection in hub.connections.values()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(threads) == 4
    assert hub.clusters() == hub.expected(solved["clusters"])
    assert graph_differences(warehouse, hub.schema) == []
    _assert_rows_belong(hub, solved)


def test_loads_that_lose_their_warehouse_again_and_again_lose_and_double_nothing(
    warehouse, warehouse_url, settings
):
    settings.LOAD_CHUNK_EVENTS = 25
    stream = _from_four_sources(ORACLE.Generator(11, 600).run())
    solved = ORACLE.solve(stream)
    hub = Hub(warehouse, warehouse_url)
    hub.append(*stream)
    chance, kills, done = random.Random(11), [], threading.Event()

    def kill():
        """Not for ever: on a busy machine no chunk might end between two kills."""
        while len(kills) < 20 and not done.wait(chance.uniform(0.005, 0.05)):
            kills.extend(
                warehouse.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND query LIKE '%identity%'"
                ).fetchall()
            )
            done.wait(0.2)

    def load(connection):
        run_load(connection)
        while connection.error:
            run_load(connection)
        connections.close_all()

    threads = [
        threading.Thread(target=load, args=[connection]) for connection in hub.connections.values()
    ]
    killer = threading.Thread(target=kill)
    for thread in [*threads, killer]:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    killer.join()

    assert len(kills) > 1
    assert hub.clusters() == hub.expected(solved["clusters"])
    assert graph_differences(warehouse, hub.schema) == []


def test_rows_follow_their_users_when_a_device_turns_out_to_be_shared(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url, {"hub_limit": 2})
    hub.load(*(event(n, anonymousId="kiosk", userId=f"u{n}", event="Looked") for n in (1, 2)))
    joined = hub.row_ids_by_profile()

    hub.load(event(3, anonymousId="kiosk", userId="u3", event="Looked"))
    hub.run_upkeep()

    assert list(joined.values()) == [["m1", "m2"]]
    assert hub.row_ids_by_profile() == {hub.key(user(f"u{n}")): [f"m{n}"] for n in (1, 2, 3)}


def _from_four_sources(stream):
    """A message and its repeats come from one of them."""
    return [{**line, "source": f"s{int(line['messageId'][2:9]) % 4}"} for line in stream]


TABLET = [
    event(1, anonymousId="phone", userId="bob", event="Looked"),
    event(2, "identify", anonymousId="tablet", userId="ann", traits={"email": "ann@x.example"}),
    event(3, "identify", anonymousId="tablet", userId="bob", traits={"email": "bob@x.example"}),
    event(4, anonymousId="tablet", event="Looked"),
    event(5, userId="ann", event="Looked"),
]


def test_an_unmerge_moves_the_rows_of_the_side_that_leaves(hub):
    hub.load(*TABLET)
    with store.connect(hub.destination) as identities:
        pair = (anonymous("tablet"), user("bob"))
        with identities.operation("ann", dry_run=True) as op:
            preview = unmerge.unmerge_links(op, [pair])
        with identities.operation("ann") as op:
            done = unmerge.unmerge_links(op, [pair])

    tablet = min(hub.key(anonymous("tablet")), hub.key(user("ann")))
    bob = min(hub.key(anonymous("phone")), hub.key(user("bob")))
    assert (
        preview.outcome.moved
        == done.outcome.moved
        == {
            "web.identifies": 1,
            "web.looked": 2,
            "web.tracks": 2,
            "web.users": 1,
        }
    )
    assert hub.row_ids_by_profile() == {bob: ["m1"], tablet: ["m4", "m5"]}
    assert hub.row_ids_by_profile("web.users_resolved") == {bob: ["bob"], tablet: ["ann"]}


COPY_ROWS = """
INSERT INTO web.looked
SELECT copy.*
FROM web.looked AS row
CROSS JOIN generate_series(1, %s) AS number
CROSS JOIN LATERAL jsonb_populate_record(row, jsonb_build_object('id', 'copy ' || number)) AS copy
WHERE row.id = 'm4'
"""


def test_rows_of_a_large_unmerge_move_in_slices(hub):
    hub.load(*TABLET)
    hub.conn.execute(COPY_ROWS, [restamp.AT_ONCE])
    pair = (anonymous("tablet"), user("bob"))
    with store.connect(hub.destination) as identities:
        with identities.operation("ann") as op:
            done = unmerge.unmerge_links(op, [pair])
        assert done.outcome.restamp_id is not None
        progress = []
        while unmerge.move_next_slice(identities.conn, identities.schema):
            progress += hub.rows("SELECT moved, total FROM {schema}.identity_restamp")

    tablet = min(hub.key(anonymous("tablet")), hub.key(user("ann")))
    bob = min(hub.key(anonymous("phone")), hub.key(user("bob")))
    total = restamp.AT_ONCE + 6
    assert progress[0] == (restamp.SLICE, total)
    assert progress[-1] == (total, total)
    assert hub.row_ids_by_profile() == {bob: ["m1"], tablet: ["m4", "m5"]}


def test_an_erased_person_is_stored_nowhere_and_does_not_come_back(hub):
    hub.load(
        event(1, anonymousId="dev-ann", event="Looked", properties={"n": 1}),
        event(
            2, "identify", anonymousId="dev-ann", userId="ann-1", traits={"email": "ann@x.example"}
        ),
        event(3, "merge", userId="ann-1", mergeProperties=[{"type": "crm", "value": "crm-ann"}]),
        event(4, "alias", userId="ann-2", previousId="ann-1"),
        event(5, userId="bob-1", event="Looked"),
        event(6, "identify", userId="ann-1", traits={"born": {"in": "x"}}),
    )
    connection = hub.connection("web")
    DeadLetter.objects.create(
        connection=connection, event_id=1, message_id="d1", reason="r", payload='{"userId":"ann-1"}'
    )
    Quarantined.objects.create(
        source=connection.source, route="/v1/track", status=400, reason="r",
        body=b'{"userId": "ann-2"', body_bytes=18,
    )  # fmt: skip
    before = everything_stored(hub)
    with store.connect(hub.destination) as identities:
        preview = preview_erasure(
            hub.destination, identities, identifiers_to_erase(identities, "dev-ann")
        )
    assert everything_stored(hub) == before

    receipt = erase_person(hub.destination, "dev-ann", actor="eve", reason="asked for it")

    text = everything_stored(hub)
    for value in ("dev-ann", "ann-1", "ann-2", "crm-ann", "ann@x.example"):
        assert value in before
        assert value not in text
    assert receipt.counts == preview.counts == {
        "event log": 5,
        "dead letters": 1,
        "quarantine": 1,
        "identity_activity": 3,
        "identity_edge": 5,
        "identity_node": 4,
        "identity_trait": 1,
        "rudder_profiles": 1,
        "web.aliases": 1,
        "web.identifies": 2,
        "web.looked": 1,
        "web.tracks": 1,
        "web.users": 1,
    }  # fmt: skip
    stored = Erasure.objects.get()
    assert (stored.actor, stored.reason, len(stored.keys)) == ("eve", "asked for it", 4)
    assert set(hub.clusters()) == {(user("bob-1"),)}

    hub.load(
        event(11, anonymousId="dev-ann", userId="ann-1", event="Looked"),
        event(12, "identify", anonymousId="dev-new", userId="ann-2", traits={"plan": "pro"}),
        event(13, userId="bob-1", anonymousId="dev-ann", event="Looked"),
    )

    assert set(hub.clusters()) == {(user("bob-1"),), (anonymous("dev-new"),)}
    assert hub.conn.execute(
        "SELECT id, user_id, anonymous_id FROM web.tracks ORDER BY id"
    ).fetchall() == [("m13", "bob-1", None), ("m5", "bob-1", None)]
    assert hub.conn.execute("SELECT id FROM web.users").fetchall() == []
    assert connection.loads.latest("pk").skipped == 2
    assert graph_differences(hub.conn, hub.schema) == []


def test_one_identifier_is_erased_and_the_rest_of_the_person_stays(hub):
    hub.load(
        event(1, anonymousId="old-phone", event="Looked"),
        event(2, "identify", anonymousId="old-phone", userId="ann", traits={"plan": "pro"}),
        event(3, anonymousId="tablet", userId="ann", event="Looked"),
    )

    receipt = erase_person(
        hub.destination, "old-phone", "anonymous_id", whole_profile=False, actor="eve"
    )

    assert set(hub.clusters()) == {(anonymous("tablet"), user("ann"))}
    assert "old-phone" not in everything_stored(hub)
    assert hub.conn.execute("SELECT id, user_id, anonymous_id FROM web.identifies").fetchall() == [
        ("m2", "ann", None)
    ]
    assert receipt.counts["web.identifies (values)"] == 1
    profile = hub.profile("ann")
    assert hub.row_ids_by_profile("web.identifies_resolved") == {profile: ["m2"]}


def test_a_person_can_be_blanked_so_that_counts_stay(hub):
    hub.load(*TABLET)

    erase_person(hub.destination, "ann", mode="blank", actor="eve")
    hub.load(event(6, userId="ann", event="Looked"))

    assert hub.conn.execute(
        "SELECT id, event, user_id, anonymous_id, rudder_profile_id FROM web.tracks ORDER BY id"
    ).fetchall() == [(f"m{n}", "looked", None, None, None) for n in (1, 4, 5, 6)]
    assert hub.conn.execute("SELECT count(*) FROM web.users").fetchall() == [(0,)]


def test_a_replay_of_the_log_after_an_erasure_brings_nobody_back(hub):
    hub.load(*TABLET)
    erase_person(hub.destination, "ann", actor="eve")
    hub.rows("DELETE FROM {schema}.rudder_cursors RETURNING 1")
    hub.rows("DELETE FROM {schema}.identity_suppressed RETURNING 1")

    hub.run_loads()

    assert hub.clusters() == {}


def test_a_value_of_no_event_can_be_suppressed(hub):
    receipt = erase_person(hub.destination, "ghost", "user_id", whole_profile=False, actor="eve")

    hub.load(event(1, userId="ghost", event="Boo"), event(2, anonymousId="a1"))

    assert receipt.counts == {}
    assert set(hub.clusters()) == {(anonymous("a1"),)}
    assert Identifier("user_id", "ghost") not in hub.clusters()
    assert NOW.year == 2026


def test_a_changed_trait_identifier_moves_rows_of_all_sources_at_the_next_load(
    warehouse, warehouse_url
):
    """The e-mail address of three users is a hub as soon as the destination says it identifies."""
    hub = Hub(warehouse, warehouse_url, {"hub_limit": 2})
    for number, source in ((1, "web"), (2, "app"), (3, "web")):
        stated = [{"type": "email", "value": "office@x.example"}]
        fields = {"source": source, "userId": f"u{number}"}
        hub.load(event(number, "merge", mergeProperties=stated, **fields))
        hub.load(event(number + 10, event="Looked", **fields))
    assert len(hub.clusters()) == 1

    hub.destination.config["trait_identifiers"] = "email"
    hub.destination.save()
    hub.load(event(30, userId="u1", event="Looked", source="web"))

    assert len(hub.clusters()) == 4
    stamps = hub.rows("SELECT rudder_profile_id FROM app.tracks")
    assert stamps == [(hub.profile("u2"),)]
    assert graph_differences(warehouse, hub.schema) == []
