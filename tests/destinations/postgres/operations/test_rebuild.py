from __future__ import annotations

import random
import threading

import psycopg
import pytest

from destinations.postgres.identity.query import query
from destinations.postgres.operations import guards, unmerge
from destinations.postgres.operations.rebuild import graph_differences, rebuild_graph
from tests.support.events import event
from tests.support.identity_graph import ORACLE, Graph, anonymous, user
from tests.support.wait import wait_for


@pytest.fixture
def graph(warehouse):
    graph = Graph(warehouse, {"blocked": True, "hub_limit": 3})
    graph.load(*ORACLE.Generator(5, 400).run(), chunk_size=50)
    return graph


DAMAGES = {
    "an identifier in another group": """
        UPDATE {schema}.identity_node SET comp_id = (SELECT min(comp_id) FROM
            {schema}.identity_component) WHERE node_id = (SELECT max(node_id) FROM
            {schema}.identity_node) RETURNING 1
    """,
    "no groups at all": "DELETE FROM {schema}.identity_component RETURNING 1",
    "a wrong size": """
        UPDATE {schema}.identity_component SET size = size + 1 WHERE size = (
            SELECT max(size) FROM {schema}.identity_component) RETURNING 1
    """,
    "a wrong id": """
        UPDATE {schema}.identity_component SET rudder_id = gen_random_uuid()
        WHERE comp_id = (SELECT min(root_id) FROM {schema}.identity_component) RETURNING 1
    """,
    "a lost alias": "DELETE FROM {schema}.identity_alias RETURNING 1",
    "a lost hub": "DELETE FROM {schema}.identity_hub RETURNING 1",
    "a lost profile": "DELETE FROM {schema}.rudder_profiles RETURNING 1",
    "a profile too many": """
        UPDATE {schema}.rudder_profiles SET rudder_id = gen_random_uuid() WHERE rudder_id = (
            SELECT rudder_id FROM {schema}.rudder_profiles LIMIT 1) RETURNING 1
    """,
    "a wrong trait": """
        UPDATE {schema}.rudder_profiles SET traits = '{{"plan": "stolen"}}' WHERE rudder_id = (
            SELECT rudder_id FROM {schema}.rudder_profiles LIMIT 1) RETURNING 1
    """,
    "a hidden identifier": """
        INSERT INTO {schema}.identity_blocked SELECT min(node_id), 1
        FROM {schema}.identity_node RETURNING 1
    """,
}


def test_a_sound_graph_has_no_differences(graph):
    assert graph_differences(graph.conn, graph.schema) == []


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_found_and_rebuilt(graph, name):
    before = graph.clusters()
    overrides = "SELECT * FROM {schema}.rudder_identity_overrides ORDER BY 1"
    known = graph.rows(overrides)
    assert graph.rows(DAMAGES[name])

    assert graph_differences(graph.conn, graph.schema) != []
    assert rebuild_graph(graph.conn, graph.schema) != []

    assert graph.clusters() == before
    assert graph.rows(overrides) == known
    assert graph_differences(graph.conn, graph.schema) == []


def test_a_rebuild_of_a_sound_graph_writes_nothing(graph):
    stamps = "SELECT rudder_id, xmin::text FROM {schema}.rudder_profiles ORDER BY 1"
    before = graph.rows(stamps)

    assert rebuild_graph(graph.conn, graph.schema) == []

    assert graph.rows(stamps) == before


STATE = """
    SELECT merge_property_type, merge_property_value, m.rudder_id, p.name
    FROM {schema}.rudder_identity_mappings m
    LEFT JOIN {schema}.rudder_profiles p ON p.rudder_id = m.rudder_id
    ORDER BY 1, 2
"""


def test_a_rebuild_is_seen_whole_and_one_that_crashes_changes_nothing(graph, warehouse_url):
    sound = graph.clusters()
    graph.rows(DAMAGES["no groups at all"])
    graph.rows("UPDATE {schema}.rudder_profiles SET name = 'stolen' RETURNING 1")
    damaged = graph.rows(STATE)

    with psycopg.connect(warehouse_url) as blocker, psycopg.connect(warehouse_url) as conn:
        conn.autocommit = True
        last_row = "SELECT FROM {schema}.rudder_profiles ORDER BY ctid DESC LIMIT 1 FOR UPDATE"
        blocker.execute(query(graph.schema, last_row))
        crashed = threading.Thread(target=rebuild_until_killed, args=[conn, graph.schema])
        crashed.start()
        wait_for(lambda: writes_and_waits(graph, conn))
        during = graph.rows(STATE)
        graph.conn.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
        crashed.join()

    assert (during, graph.rows(STATE)) == (damaged, damaged)
    rebuild_graph(graph.conn, graph.schema)
    assert graph.clusters() == sound
    assert graph_differences(graph.conn, graph.schema) == []


def rebuild_until_killed(conn, schema):
    with pytest.raises(psycopg.OperationalError):
        rebuild_graph(conn, schema)


def writes_and_waits(graph, conn):
    """Whether the session has changed rows and waits for the lock of another."""
    return graph.conn.execute(
        "SELECT wait_event_type = 'Lock' AND backend_xid IS NOT NULL FROM pg_stat_activity"
        " WHERE pid = %s",
        [conn.info.backend_pid],
    ).fetchone()[0]


@pytest.mark.parametrize("seed", range(4))
def test_after_operators_actions_the_graph_is_still_sound(warehouse, seed):
    graph = Graph(warehouse, {"blocked": True, "hub_limit": 3})
    events, chance = ORACLE.Generator(seed, 300).run(), random.Random(seed)
    graph.load(*events[:150], chunk_size=30)
    links = graph.rows("SELECT * FROM {schema}.rudder_identity_merge_rules")
    pairs = [
        ((row[0], row[1]), (row[2], row[3]))
        for row in chance.sample([row for row in links if row[2]], 6)
    ]
    named = [(type(user("x"))(*a), type(user("x"))(*b)) for a, b in pairs]

    with graph.operation() as op:
        unmerge.unmerge_links(op, named)
    with graph.operation() as op:
        guards.set_options(op, {"hub_limit": 2})
    graph.load(*events[150:], chunk_size=30)
    assert graph_differences(graph.conn, graph.schema) == []
    with graph.operation() as op:
        guards.set_options(op, {"hub_limit": 5})
    with graph.operation() as op:
        unmerge.restore_links(op, named[:3])

    assert graph_differences(graph.conn, graph.schema) == []


def test_an_adopted_rule_hides_a_value_and_its_removal_brings_it_back(warehouse):
    graph = Graph(warehouse)
    graph.load(
        event(1, anonymousId="a1", userId="bot"),
        event(2, anonymousId="a2", userId="bot"),
        event(3, "identify", anonymousId="a2", userId="u2", traits={"plan": "pro"}),
    )
    before = graph.clusters()

    with graph.operation() as op:
        done = guards.add_rule(op, exact="bot")

    assert done.hidden == 1
    assert set(graph.clusters()) == {(anonymous("a1"),), (anonymous("a2"), user("u2"))}
    assert graph_differences(graph.conn, graph.schema) == []
    with graph.operation() as op:
        guards.remove_rule(op, done.rule_id)
    assert graph.clusters() == before
    assert graph_differences(graph.conn, graph.schema) == []


def test_an_adopted_pattern_shows_in_a_dry_run_what_it_would_hide(warehouse):
    graph = Graph(warehouse)
    graph.load(event(1, anonymousId="test-1", userId="u1"), event(2, anonymousId="a", userId="u1"))

    with graph.operation(dry_run=True) as op:
        preview = guards.add_rule(op, pattern="test-[0-9]+")

    assert (preview.hidden, preview.shown) == (1, 0)
    assert [row.identifier_count for row in preview.outcome.after] == [2]
    assert len(graph.clusters()) == 1


def test_a_lower_hub_limit_splits_and_a_higher_one_joins_again(warehouse):
    graph = Graph(warehouse)
    graph.load(*(event(n, anonymousId="kiosk", userId=f"u{n}") for n in (1, 2, 3)))
    before = graph.clusters()

    with graph.operation() as op:
        guards.set_options(op, {"hub_limit": 2})
    assert len(graph.clusters()) == 4

    with graph.operation() as op:
        guards.set_options(op, {"hub_limit": None})
    assert graph.clusters() == before


def office_merge(n):
    """A merge call of one of three users of an e-mail address."""
    stated = [{"type": "email", "value": "office@x.example"}]
    return event(n, "merge", userId=f"u{n}", mergeProperties=stated)


def test_a_trait_that_becomes_an_identifier_is_held_to_the_hub_limit_at_once(warehouse):
    graph = Graph(warehouse, {"hub_limit": 2})
    graph.load(*map(office_merge, (1, 2, 3)))
    before = graph.clusters()
    assert len(before) == 1

    guards.set_trait_identifiers(graph.conn, graph.schema, [], ("email",))
    assert len(graph.clusters()) == 4
    assert graph_differences(graph.conn, graph.schema) == []

    guards.set_trait_identifiers(graph.conn, graph.schema, [], ())
    assert graph.clusters() == before
    assert graph_differences(graph.conn, graph.schema) == []


def test_trait_identifiers_that_stay_the_same_change_nothing(warehouse):
    graph = Graph(warehouse, {"hub_limit": 2, "trait_identifiers": ["email"]})
    before = graph.rows("SELECT xmin::text FROM {schema}.identity_meta")

    guards.set_trait_identifiers(graph.conn, graph.schema, [], ("email",))

    assert graph.rows("SELECT xmin::text FROM {schema}.identity_meta") == before


def test_nulls_clear_traits_as_soon_as_the_option_is_on(warehouse):
    graph = Graph(warehouse)
    graph.load(
        event(1, "identify", userId="u", traits={"plan": "pro"}),
        event(2, "identify", userId="u", traits={"plan": None}),
    )

    with graph.operation() as op:
        guards.set_options(op, {"null_clears": True})

    assert graph.rows("SELECT traits FROM {schema}.rudder_profiles") == [({},)]
