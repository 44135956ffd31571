from __future__ import annotations

import itertools
import random
import threading
from contextlib import closing
from functools import partial

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.postgres.identity import graph_schema
from destinations.postgres.operations import unmerge
from destinations.warehouse.identity.statements import GraphOptions
from tests.support.events import event
from tests.support.identity_graph import ORACLE, SCENARIOS, SCHEMA, Graph, anonymous, user

WITHOUT_OPERATOR = {
    name: scenario
    for name, scenario in SCENARIOS.items()
    if all(each["type"] != "op" for each in scenario["given"])
}
ORDER_FREE = sorted(set(WITHOUT_OPERATOR) - {"size-guard-refuses-a-link"})
STREAMS = [
    {},
    {"blocked": True},
    {"hub_limit": 3},
    {"blocked": True, "hub_limit": 2, "trait_identifiers": ["email"]},
    {"null_clears": True, "hub_limit": 10, "blocked": True},
]


@pytest.fixture
def graph(warehouse):
    return Graph(warehouse)


def _stream(seed, size):
    """Events, the configuration, and what the oracle expects of both."""
    config = STREAMS[seed % len(STREAMS)]
    events = ORACLE.Generator(seed, size).run()
    solved = ORACLE.solve(
        events,
        config.get("blocked", False),
        config.get("hub_limit"),
        tuple(config.get("trait_identifiers", ())),
    )
    traits = "traits_null_clears" if config.get("null_clears") else "traits"
    return events, config, solved, traits


@pytest.mark.parametrize("name", WITHOUT_OPERATOR)
def test_a_scenario_gives_its_profiles(warehouse, name):
    scenario = WITHOUT_OPERATOR[name]
    graph = Graph(warehouse, scenario["config"])

    graph.load(*scenario["given"])

    assert graph.clusters() == graph.expected(scenario["profiles"])


@pytest.mark.parametrize("chunk_size", [1, 2, 3, 1000])
@pytest.mark.parametrize("name", ORDER_FREE)
def test_a_scenario_gives_the_same_in_any_order_with_repeats(warehouse, name, chunk_size):
    scenario = WITHOUT_OPERATOR[name]
    graph = Graph(warehouse, scenario["config"])
    events = scenario["given"] + random.sample(scenario["given"], len(scenario["given"]) // 2)

    graph.load(*random.sample(events, len(events)), chunk_size=chunk_size)
    graph.load(*scenario["given"], chunk_size=chunk_size)

    assert graph.clusters() == graph.expected(scenario["profiles"])


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_gives_what_the_oracle_says_in_any_order_and_chunks(warehouse, seed):
    events, config, solved, traits = _stream(seed, 300)
    shuffled = random.sample(events, len(events))
    graph = Graph(warehouse, config)
    expected = graph.expected(solved["clusters"], traits)

    graph.load(*events, chunk_size=60)
    assert graph.clusters() == expected
    graph.load(*shuffled, chunk_size=1000)
    assert graph.clusters() == expected

    again = Graph(warehouse, config)
    again.load(*shuffled, chunk_size=17)
    assert again.clusters() == again.expected(solved["clusters"], traits)


@pytest.mark.parametrize("seed", [3, 13])
def test_the_stored_graph_agrees_with_itself(warehouse, seed):
    events, config, solved, _ = _stream(seed, 800)
    graph = Graph(warehouse, config)

    graph.load(*random.sample(events, len(events)), chunk_size=40)

    not_flat = graph.rows("""
        SELECT c.comp_id
        FROM {schema}.identity_component c
        LEFT JOIN {schema}.identity_component r ON r.comp_id = c.root_id
        WHERE r.root_id IS DISTINCT FROM r.comp_id
    """)
    wrong_sizes = graph.rows("""
        SELECT r.comp_id
        FROM {schema}.identity_component r
        WHERE r.root_id = r.comp_id AND (r.size, r.ncomp) <> (
            SELECT count(*), count(DISTINCT c.comp_id)
            FROM {schema}.identity_node n
            JOIN {schema}.identity_component c ON c.comp_id = n.comp_id
            WHERE c.root_id = r.comp_id
        )
    """)
    unresolved = graph.rows("""
        SELECT old_rudder_id FROM {schema}.identity_merge_log
        EXCEPT SELECT old_rudder_id FROM {schema}.rudder_identity_overrides o
        JOIN {schema}.rudder_profiles p ON p.rudder_id = o.rudder_id
        EXCEPT SELECT rudder_id FROM {schema}.rudder_profiles
    """)
    former_and_canonical = graph.rows("""
        SELECT old_rudder_id FROM {schema}.identity_alias
        INTERSECT SELECT rudder_id FROM {schema}.rudder_identity_mappings
    """)
    hubs = graph.rows("""
        SELECT id_type, id_value
        FROM {schema}.identity_hub
        JOIN {schema}.identity_node USING (node_id)
    """)
    assert (not_flat, wrong_sizes, unresolved, former_and_canonical) == ([], [], [], [])
    assert sorted(hubs) == solved["hubs"]


def test_every_order_and_batching_of_six_events_gives_one_result(warehouse):
    scenario = SCENARIOS["any-order-any-batching"]
    orders = random.sample(list(itertools.permutations(scenario["given"])), 40)

    for order, chunk_size in zip(orders, itertools.cycle([1, 2, 3, 6]), strict=False):
        graph = Graph(warehouse)
        graph.load(*order, chunk_size=chunk_size)
        assert graph.clusters() == graph.expected(scenario["profiles"])


@pytest.mark.parametrize("seed", range(20))
def test_concurrent_loads_that_are_killed_and_repeated_lose_nothing(warehouse, warehouse_url, seed):
    events, config, solved, traits = _stream(seed, 250)
    graph = Graph(warehouse, config)
    chunks = [events[start : start + 15] for start in range(0, len(events), 15)]
    random.shuffle(chunks)
    killed = []
    failed = []

    def work():
        while True:
            try:
                chunk = chunks.pop()
            except IndexError:
                return
            attempt(chunk, kill=True)

    def attempt(chunk, kill):
        connect = partial(psycopg.connect, autocommit=True, prepare_threshold=None)
        with closing(connect(warehouse_url)) as conn:  # a killed one cannot commit
            pid = conn.info.backend_pid
            [milliseconds] = random.sample(range(20), 1)
            killer = threading.Timer(milliseconds / 1000, terminate, [pid])
            if kill:
                killer.start()
            try:
                graph.load(*chunk, chunk_size=100, conn=conn)
            except psycopg.OperationalError:
                killed.append(pid)
                attempt(chunk, kill=False)
            except Exception as error:
                failed.append(error)
                raise
            finally:
                killer.cancel()

    def terminate(pid):
        with psycopg.connect(warehouse_url, autocommit=True) as conn:
            conn.execute("SELECT pg_terminate_backend(%s)", [pid])

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not failed
    assert killed
    assert graph.clusters() == graph.expected(solved["clusters"], traits)


def test_two_known_users_of_one_profile_in_one_chunk_both_give_it_their_traits(graph):
    graph.load(
        event(1, "alias", userId="u1", previousId="u2"),
        event(2, "identify", userId="u1", traits={"plan": "free"}),
    )

    profiles = graph.load(
        event(3, "identify", userId="u1", traits={"city": "Oslo"}),
        event(4, "identify", userId="u2", traits={"plan": "pro"}),
        chunk_size=2,
    )

    (rudder_id,) = set(profiles.values())
    assert set(profiles) == {user("u1"), user("u2")}
    assert graph.clusters() == {
        (user("u1"), user("u2")): (rudder_id, "u2", {"city": "Oslo", "plan": "pro"})
    }


def test_a_cut_link_does_not_count_towards_a_hub(warehouse):
    graph = Graph(warehouse, {"hub_limit": 2})
    graph.load(*(event(n, anonymousId="tablet", userId=f"u{n}") for n in (1, 2)))
    pair = (anonymous("tablet"), user("u2"))
    with graph.operation() as op:
        unmerge.unmerge_links(op, [pair], reason="shared")

    graph.load(
        event(3, anonymousId="tablet", userId="u2"), event(4, anonymousId="tablet", userId="u3")
    )

    assert set(graph.clusters()) == {
        (anonymous("tablet"), user("u1"), user("u3")),
        (user("u2"),),
    }


def test_a_sign_up_keeps_the_visitors_id(graph):
    before = graph.load(event(1, anonymousId="a1"))

    after = graph.load(event(2, "identify", anonymousId="a1", userId="u1"))

    assert (
        after == {user("u1"): before[anonymous("a1")]} == {user("u1"): graph.key(anonymous("a1"))}
    )
    assert graph.rows("SELECT * FROM {schema}.rudder_identity_overrides") == []
    assert graph.rows("SELECT * FROM {schema}.identity_merge_log") == []


def test_a_profile_that_joins_an_older_one_takes_its_id_and_keeps_the_former_one(graph):
    graph.load(event(1, anonymousId="a1"), event(2, anonymousId="a2"))

    graph.load(event(3, "identify", anonymousId="a1", userId="u1"))
    graph.load(event(4, "identify", anonymousId="a2", userId="u1"))

    old, new = graph.key(anonymous("a2")), graph.key(anonymous("a1"))
    assert graph.rows("SELECT * FROM {schema}.rudder_identity_overrides") == [(old, new)]
    assert graph.profile(str(old)) == new
    assert graph.rows(
        "SELECT old_rudder_id, new_rudder_id, key_a, key_b, message_id, actor"
        " FROM {schema}.identity_merge_log"
    ) == [(old, new, old, graph.key(user("u1")), "m4", "")]


def test_an_event_received_earlier_moves_the_id_once(graph):
    graph.load(event(5, anonymousId="a1"), event(6, "identify", anonymousId="a1", userId="u1"))
    first = graph.profile("u1")

    graph.load(event(3, userId="u1"))
    graph.load(event(3, userId="u1"))

    assert first == graph.key(anonymous("a1"))
    assert graph.profile("a1") == graph.key(user("u1"))
    assert graph.profile(str(first)) == graph.key(user("u1"))
    assert graph.rows("SELECT count(*) FROM {schema}.identity_merge_log") == [(1,)]

    graph.load(event(1, anonymousId="a1"))

    assert graph.profile("u1") == first
    assert graph.profile(str(graph.key(user("u1")))) == first


def test_repeats_write_nothing(graph):
    events = SCENARIOS["merge-call-with-many-properties"]["given"]
    graph.load(*events, chunk_size=10)
    query = """
        SELECT xmin::text, ctid::text FROM {schema}.identity_node
        UNION ALL SELECT xmin::text, ctid::text FROM {schema}.identity_edge
        UNION ALL SELECT xmin::text, ctid::text FROM {schema}.identity_component
        UNION ALL SELECT xmin::text, ctid::text FROM {schema}.identity_activity
        UNION ALL SELECT xmin::text, ctid::text FROM {schema}.rudder_profiles
        ORDER BY 1, 2
    """
    before = graph.rows(query)

    graph.load(*events)
    graph.load(*events[::-1], chunk_size=10)

    assert graph.rows(query) == before


def test_every_pair_of_a_merge_call_is_a_rule_and_a_lone_statement_half_a_rule(graph):
    mail, phone = {"type": "email", "value": "e"}, {"type": "mobile", "value": "p"}

    graph.load(event(1, "merge", userId="u1", mergeProperties=[mail, phone]))
    graph.load(event(2, anonymousId="a1"))

    rules = graph.rows("SELECT * FROM {schema}.rudder_identity_merge_rules")
    assert {frozenset(zip(rule[::2], rule[1::2], strict=True)) for rule in rules} == {
        frozenset({("email", "e"), ("mobile", "p")}),
        frozenset({("email", "e"), ("user_id", "u1")}),
        frozenset({("mobile", "p"), ("user_id", "u1")}),
        frozenset({("anonymous_id", "a1"), (None, None)}),
    }
    assert len(rules) == 4


def test_a_device_of_too_many_users_leaves_their_profile_alone(warehouse):
    graph = Graph(warehouse, {"hub_limit": 2})
    kiosk = {"anonymousId": "kiosk"}
    graph.load(event(1, **kiosk), event(2, userId="u1", **kiosk), event(3, userId="u2", **kiosk))
    joined = graph.profile("u2")

    graph.load(event(4, userId="u3", **kiosk), event(5, userId="u4", **kiosk))

    assert graph.rows(
        "SELECT node_key, degree FROM {schema}.identity_hub JOIN"
        " {schema}.identity_node USING (node_id)"
    ) == [(joined, 4)]
    assert sorted(graph.clusters()) == [
        (anonymous("kiosk"),),
        (user("u1"),),
        (user("u2"),),
        (user("u3"),),
        (user("u4"),),
    ]
    assert graph.profile(str(joined)) == joined == graph.key(anonymous("kiosk"))
    assert graph.rows(
        "SELECT new_rudder_id, message_id, actor FROM {schema}.identity_merge_log"
        " WHERE actor <> '' ORDER BY new_rudder_id"
    ) == sorted((graph.key(user(name)), "m4", "hub limit") for name in ("u1", "u2"))


def test_a_split_profile_keeps_the_links_that_do_not_pass_the_hub(warehouse):
    graph = Graph(warehouse, {"hub_limit": 1})
    graph.load(
        event(1, userId="u1", anonymousId="a1"),
        event(2, userId="u1", anonymousId="shared"),
        event(3, "alias", userId="u1", previousId="u0"),
    )

    graph.load(event(9, userId="u2", anonymousId="shared"))
    graph.load(event(10, userId="u2", anonymousId="a2"))

    assert sorted(graph.clusters()) == [
        (anonymous("a1"), user("u0"), user("u1")),
        (anonymous("a2"), user("u2")),
        (anonymous("shared"),),
    ]


def test_a_link_that_would_make_a_profile_too_large_is_refused_and_kept(warehouse):
    scenario = SCENARIOS["size-guard-refuses-a-link"]
    graph = Graph(warehouse, scenario["config"])

    graph.load(*scenario["given"], chunk_size=10)
    graph.load(*scenario["given"])

    assert graph.rows("SELECT message_id FROM {schema}.identity_edge WHERE state = 'r'") == [
        ("x89",)
    ]
    assert graph.clusters() == graph.expected(scenario["profiles"])


def test_a_cut_link_is_stored_and_does_not_join(graph):
    keys = sorted([graph.key(anonymous("a1")), graph.key(user("u1"))])
    graph.rows(
        "INSERT INTO {schema}.identity_tombstone (key_a, key_b, actor)"
        " VALUES (%s, %s, 'ann') RETURNING 1",
        keys,
    )

    graph.load(event(1, userId="u1", anonymousId="a1"), event(2, userId="u1", anonymousId="a2"))

    assert sorted(graph.clusters()) == [(anonymous("a1"),), (anonymous("a2"), user("u1"))]
    assert graph.rows("SELECT message_id FROM {schema}.identity_edge WHERE state = '-'") == [
        ("m1",)
    ]


def test_a_suppressed_identifier_is_not_stored_and_its_events_have_no_profile(graph):
    graph.rows(
        "INSERT INTO {schema}.identity_suppressed (node_key) VALUES (%s) RETURNING 1",
        [graph.key(user("gone"))],
    )

    resolved = graph.load(
        event(1, "identify", userId="gone", anonymousId="a1", traits={"email": "e@x"}),
        event(2, "identify", userId="gone", traits={"email": "e@x"}),
        event(3, anonymousId="a2"),
        chunk_size=10,
    )

    assert resolved == {anonymous("a2"): graph.key(anonymous("a2"))}
    assert graph.clusters() == {
        (anonymous("a1"),): (graph.key(anonymous("a1")), None, {}),
        (anonymous("a2"),): (graph.key(anonymous("a2")), None, {}),
    }


def test_an_identifier_hidden_by_a_later_block_rule_takes_no_part(graph):
    graph.load(event(1, userId="junk"))
    graph.rows(
        "INSERT INTO {schema}.identity_blocked"
        " SELECT node_id, 1 FROM {schema}.identity_node RETURNING 1"
    )

    graph.load(event(2, userId="junk", anonymousId="a1"))

    assert graph.rows("SELECT merge_property_value FROM {schema}.rudder_identity_mappings") == [
        ("a1",)
    ]
    assert graph.rows("SELECT * FROM {schema}.rudder_profile('junk')") == []


def test_hits_of_the_block_list_are_counted(warehouse):
    graph = Graph(warehouse, {"blocked": True})

    graph.load(event(1, userId="null", anonymousId="a1"), event(2, userId="null"))

    assert graph.rows("SELECT exact, hits FROM {schema}.identity_rule_list WHERE hits > 0") == [
        ("null", 2)
    ]
    assert list(graph.clusters()) == [(anonymous("a1"),)]


def test_the_stored_rules_are_those_that_statements_are_made_with(graph):
    graph.rows(
        "INSERT INTO {schema}.identity_rule_list (exact, action)"
        " VALUES ('guest', 'allow'), ('kiosk', 'block') RETURNING 1"
    )

    blocks = graph_schema.read_rules(graph.conn, graph.schema).blocks

    assert blocks.blocking_rule("user_id", "null") == 1
    assert blocks.blocking_rule("user_id", "0000-0000") is not None
    assert blocks.blocking_rule("user_id", "kiosk") == 1002
    assert blocks.blocking_rule("user_id", "guest") is None


def test_a_pattern_that_could_take_for_ever_is_refused(graph):
    graph.rows("INSERT INTO {schema}.identity_rule_list (pattern) VALUES ('(a+)+') RETURNING 1")

    with pytest.raises(DestinationError, match="pattern"):
        graph_schema.read_rules(graph.conn, graph.schema)


def test_the_schema_of_another_destination_is_refused(graph):
    graph_schema.ensure_schema(graph.conn, SCHEMA, "one")

    with pytest.raises(DestinationError, match="'one'"):
        graph_schema.ensure_schema(graph.conn, SCHEMA, "two")


def test_schemas_have_the_defaults_and_salts_of_their_own(warehouse):
    graph_schema.ensure_schema(warehouse, "first", "one")
    graph_schema.ensure_schema(warehouse, "second", "two")

    first, second = (graph_schema.read_meta(warehouse, name) for name in ("first", "second"))
    assert first.options == second.options == GraphOptions()
    assert first.salt != second.salt


def test_two_that_create_the_schema_at_once_get_one(warehouse, warehouse_url):
    failed = []

    def create():
        with psycopg.connect(warehouse_url, autocommit=True) as conn:
            try:
                graph_schema.ensure_schema(conn, "raced", "one")
            except psycopg.Error as error:
                failed.append(error)

    workers = [threading.Thread(target=create) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert not failed
    assert warehouse.execute("SELECT count(*) FROM raced.identity_meta").fetchone() == (1,)


def test_a_schema_of_a_newer_version_is_refused(graph):
    graph.rows("UPDATE {schema}.identity_meta SET version = version + 1 RETURNING 1")

    with pytest.raises(DestinationError, match=f"version {graph_schema.VERSION + 1}"):
        graph.load(event(1, userId="u1"))


def test_another_isolation_level_is_refused(graph):
    graph.conn.execute("SET default_transaction_isolation = 'repeatable read'")

    with pytest.raises(DestinationError, match="repeatable read"):
        graph.load(event(1, userId="u1"))


def test_a_graph_that_stays_locked_is_unavailable(graph, warehouse_url):
    oid = graph_schema.read_meta(graph.conn, SCHEMA).oid

    with psycopg.connect(warehouse_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s, %s)", [graph_schema.GRAPH_LOCK, oid])
        locked = pytest.raises(DestinationUnavailableError, match="locked for more than")
        with locked, graph.conn.transaction():
            graph_schema.lock_graph(graph.conn, oid, seconds=0.05)

    assert graph.load(event(1, userId="u1")) == {user("u1"): graph.key(user("u1"))}


def test_an_operator_waits_for_the_chunk(graph, warehouse_url):
    oid = graph_schema.read_meta(graph.conn, SCHEMA).oid
    attempt = "SELECT pg_try_advisory_xact_lock(%s, %s)"
    lock = [graph_schema.OPERATOR_LOCK, oid]

    with psycopg.connect(warehouse_url, autocommit=True) as operator:
        with graph_schema.operator_lock_shared(graph.conn, SCHEMA):
            during = operator.execute(attempt, lock).fetchone()
        after = operator.execute(attempt, lock).fetchone()

    assert (during, after) == ((False,), (True,))


def test_stored_tables_are_never_scanned(graph):
    counters = """
        SELECT relname, seq_scan
        FROM pg_stat_user_tables
        WHERE schemaname = %s AND relname NOT IN (
            'identity_meta', 'identity_suppressed', 'identity_blocked', 'identity_tombstone',
            'identity_rule_list', 'rudder_cursors'
        )
        ORDER BY relname
    """
    graph.conn.execute("SELECT pg_stat_force_next_flush()")
    before = graph.conn.execute(counters, [SCHEMA]).fetchall()

    graph.load(*ORACLE.Generator(1, 1500).run(), chunk_size=100)

    graph.conn.execute("SELECT pg_stat_force_next_flush()")
    assert graph.conn.execute(counters, [SCHEMA]).fetchall() == before


def test_a_merge_of_large_profiles_rewrites_no_identifier(graph):
    size = 1000
    graph.load(
        *[
            event(1, userId=f"u{side}", anonymousId=f"{side}-{n}", messageId=f"{side}{n}")
            for side in (1, 2)
            for n in range(size)
        ],
        chunk_size=4000,
    )
    written = graph.rows("SELECT DISTINCT xmin::text FROM {schema}.identity_node")

    graph.load(event(2, "alias", userId="u1", previousId="u2"))

    assert graph.rows("SELECT DISTINCT xmin::text FROM {schema}.identity_node") == written
    assert graph.profile("u1") == graph.profile("u2")
    assert graph.rows("SELECT identifier_count FROM {schema}.rudder_profiles") == [(2 * size + 2,)]


def test_schema_names_are_quoted(warehouse):
    name = 'it\'s; a "schema" {of} one'

    graph = Graph(warehouse, schema=name)
    graph.load(event(1, userId="u1"))

    assert warehouse.execute(
        SQL("SELECT user_id FROM {}").format(Identifier(name, "rudder_profiles"))
    ).fetchall() == [("u1",)]


def test_a_schema_name_that_statements_cannot_carry_is_refused(warehouse):
    with pytest.raises(DestinationError, match="%"):
        graph_schema.ensure_schema(warehouse, "100%", "one")
