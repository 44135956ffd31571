from __future__ import annotations

import pytest

from destinations.interface import DestinationError
from destinations.postgres.operations import unmerge
from destinations.postgres.reads.explain import explain
from destinations.warehouse.identity.union import CUT, REFUSED
from tests.support.events import event
from tests.support.identity_graph import Graph, anonymous, user


@pytest.fixture
def graph(warehouse):
    return Graph(warehouse)


def cut(graph, *pairs, dry_run=False):
    with graph.operation(dry_run=dry_run) as op:
        return unmerge.unmerge_links(op, pairs, "tablet")


TABLET = [
    event(1, "identify", anonymousId="tablet", userId="ann", traits={"plan": "pro"}),
    event(2, "identify", anonymousId="tablet", userId="bob", traits={"plan": "free"}),
    event(3, anonymousId="phone", userId="bob"),
]
PHONE = {"type": "phone", "value": "0123"}


def test_a_cut_link_splits_the_profile_and_each_side_has_its_own_traits(graph):
    graph.load(*TABLET)

    done = cut(graph, (anonymous("tablet"), user("bob")))

    tablet = min(graph.key(anonymous("tablet")), graph.key(user("ann")))
    bob = graph.key(user("bob"))
    assert graph.clusters() == {
        (anonymous("tablet"), user("ann")): (tablet, "ann", {"plan": "pro"}),
        (anonymous("phone"), user("bob")): (bob, "bob", {"plan": "free"}),
    }
    assert done.outcome.before == {tablet: 4}
    assert {row.rudder_id: row.identifier_count for row in done.outcome.after} == {
        tablet: 2,
        bob: 2,
    }
    assert graph.rows("SELECT actor, reason FROM {schema}.identity_tombstone") == [
        ("ann", "tablet")
    ]
    assert graph.rows(
        "SELECT old_rudder_id, new_rudder_id, actor FROM {schema}.identity_merge_log"
    ) == [(tablet, bob, "ann")]


def test_a_dry_run_shows_both_sides_and_changes_nothing(graph):
    graph.load(*TABLET)
    before = graph.clusters()

    preview = cut(graph, (anonymous("tablet"), user("bob")), dry_run=True)

    assert [row.user_id for row in preview.outcome.after] in (["ann", "bob"], ["bob", "ann"])
    assert graph.clusters() == before
    assert graph.rows("SELECT * FROM {schema}.identity_tombstone") == []


def test_a_replay_does_not_undo_a_cut_and_an_operator_does(graph):
    graph.load(*TABLET)
    before = graph.clusters()
    pair = (user("bob"), anonymous("tablet"))
    cut(graph, pair)
    graph.load(*TABLET)
    assert len(graph.clusters()) == 2

    with graph.operation() as op:
        unmerge.restore_links(op, [pair])

    assert graph.clusters() == before
    assert graph.rows("SELECT * FROM {schema}.identity_tombstone") == []


def test_undoing_a_cut_that_does_not_exist_is_refused(graph):
    graph.load(*TABLET)
    uncut = (user("ann"), anonymous("tablet"))

    with (
        pytest.raises(DestinationError, match="not all of these links are cut"),
        graph.operation() as op,
    ):
        unmerge.restore_links(op, [uncut])


def test_a_link_can_be_cut_before_any_event_creates_it(graph):
    cut(graph, (anonymous("tablet"), user("bob")))

    graph.load(*TABLET)

    assert (anonymous("phone"), user("bob")) in graph.clusters()


def test_where_a_second_path_exists_it_is_shown(graph):
    graph.load(
        event(1, anonymousId="a1", userId="u1"), event(2, "alias", userId="u2", previousId="u1")
    )
    graph.load(event(3, anonymousId="a1", userId="u2"))

    done = cut(graph, (anonymous("a1"), user("u1")))

    assert len(graph.clusters()) == 1
    assert len(done.outcome.after) <= len(done.outcome.before)
    assert [(step.from_value, step.to_value, step.message_id) for step in done.path] == [
        ("a1", "u2", "m3"),
        ("u2", "u1", "m2"),
    ]


def test_all_links_of_one_event_can_be_cut(graph):
    graph.load(*TABLET)

    with graph.operation() as op:
        unmerge.unmerge_event(op, "m2")

    assert (anonymous("phone"), user("bob")) in graph.clusters()


def test_the_links_that_an_event_repeats_are_cut_with_those_it_created(graph):
    graph.load(
        event(1, anonymousId="tablet", userId="ann"),
        event(2, "merge", userId="ann", anonymousId="tablet", mergeProperties=[PHONE]),
    )
    again = [(user("ann"), anonymous("tablet"))]

    with graph.operation() as op:
        done = unmerge.unmerge_event(op, "m2", more_pairs=again)

    assert len(done.cut) == 3
    assert len(graph.clusters()) == 3


def test_the_remaining_path_between_two_sides_is_returned(graph):
    graph.load(*TABLET, event(4, anonymousId="laptop", userId="ann"))
    graph.load(event(5, anonymousId="laptop", userId="bob"))
    sides = (user("ann"), anonymous("phone"))

    with graph.operation() as op:
        done = unmerge.unmerge_event(op, "m2", sides=sides)

    assert [step.message_id for step in done.path] == ["m4", "m5", "m3"]
    assert done.cut == [(anonymous("tablet"), user("bob"))]


def test_an_event_that_created_no_link_is_refused(graph):
    graph.load(*TABLET)

    with pytest.raises(DestinationError, match="no link is known"), graph.operation() as op:
        unmerge.unmerge_event(op, "m99")


def test_an_identifier_can_be_taken_out_of_its_profile(graph):
    graph.load(*TABLET)

    with graph.operation() as op:
        unmerge.unmerge_identifier(op, anonymous("tablet"))

    assert set(graph.clusters()) == {
        (anonymous("tablet"),),
        (user("ann"),),
        (anonymous("phone"), user("bob")),
    }


def test_a_cut_that_lowers_the_users_of_a_hub_ends_it(warehouse):
    graph = Graph(warehouse, {"hub_limit": 2})
    graph.load(*(event(n, anonymousId="kiosk", userId=f"u{n}") for n in (1, 2, 3)))
    assert len(graph.clusters()) == 4

    cut(graph, (anonymous("kiosk"), user("u3")))

    assert set(graph.clusters()) == {
        (anonymous("kiosk"), user("u1"), user("u2")),
        (user("u3"),),
    }
    with graph.operation() as op:
        unmerge.restore_links(op, [(anonymous("kiosk"), user("u3"))])
    assert len(graph.clusters()) == 4
    assert graph.rows("SELECT degree FROM {schema}.identity_hub") == [(3,)]


def test_a_link_that_the_size_guard_refused_can_be_released(warehouse):
    graph = Graph(warehouse, {"size_limit": 2})
    graph.load(event(1, anonymousId="a", userId="u"), event(2, anonymousId="b", userId="u"))
    held = unmerge.inactive_links(graph.conn, graph.schema, REFUSED)

    with graph.operation() as op:
        unmerge.release_links(op, [(held[0].a, held[0].b)])

    assert list(graph.clusters()) == [(anonymous("a"), anonymous("b"), user("u"))]
    assert graph.rows("SELECT old_rudder_id FROM {schema}.rudder_identity_overrides") == [
        (graph.key(anonymous("b")),)
    ]


def test_cuts_are_listed_with_their_actor_and_reason(graph):
    graph.load(*TABLET)
    cut(graph, (anonymous("tablet"), user("bob")))

    (listed,) = unmerge.inactive_links(graph.conn, graph.schema, CUT)

    assert {listed.a, listed.b} == {anonymous("tablet"), user("bob")}
    assert (listed.message_id, listed.actor, listed.reason) == ("m2", "ann", "tablet")


def test_the_shortest_path_is_returned_with_its_events(graph):
    graph.load(*TABLET)

    steps = explain(graph.conn, graph.schema, "ann", "phone")

    assert [
        (s.number, s.outcome, s.from_value, s.to_value, s.message_id, s.source_id) for s in steps
    ] == [
        (1, "joined", "ann", "tablet", "m1", "web"),
        (2, "joined", "tablet", "bob", "m2", "web"),
        (3, "joined", "bob", "phone", "m3", "web"),
    ]


def test_the_reason_why_two_identifiers_are_apart_is_returned(warehouse):
    graph = Graph(warehouse, {"hub_limit": 2})
    graph.load(*(event(n, anonymousId="kiosk", userId=f"u{n}") for n in (1, 2, 3)))
    graph.load(event(4, anonymousId="a4", userId="u4"), event(5, anonymousId="a5"))
    cut(graph, (anonymous("a4"), user("u4")))

    def reasons(a, b):
        return [step.outcome for step in explain(graph.conn, graph.schema, a, b)]

    assert reasons("u1", "u2") == ["hub"]
    assert reasons("kiosk", "u2") == ["hub"]
    assert reasons("a4", "u4") == ["cut"]
    assert reasons("a5", "u4") == ["apart"]
    assert reasons("a5", "nobody") == ["unknown"]
    assert reasons("a5", "a5") == ["joined"]


ROWS_READ = """
    SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))
    FROM pg_stat_xact_user_tables
"""
IDENTIFIERS = 5_000


def explain_counted(graph, a, b):
    """The steps, and how many rows of the graph's tables were read for them."""
    with graph.conn.transaction():
        steps = explain(graph.conn, graph.schema, a, b)
        (rows,) = graph.conn.execute(ROWS_READ).fetchone()
    return steps, rows


def test_a_user_of_five_thousand_devices_is_explained_by_reading_a_link_a_few_times(graph):
    """Also once the server knows its tables: then it may choose another plan."""
    devices = [
        event(1, messageId=f"s{n}", userId="u", anonymousId=f"d{n}") for n in range(IDENTIFIERS - 1)
    ]
    graph.load(*devices, chunk_size=IDENTIFIERS)
    graph.conn.execute("ANALYZE")

    steps, rows = explain_counted(graph, "d0", "d4998")

    assert [step.message_id for step in steps] == ["s0", "s4998"]
    assert rows < 10 * IDENTIFIERS


def test_a_chain_of_five_thousand_is_explained_by_reading_a_link_a_few_times(graph):
    chain = [
        event(1, "alias", messageId=f"c{n}", userId=f"u{n}", previousId=f"u{n + 1}")
        for n in range(IDENTIFIERS - 1)
    ]
    graph.load(*chain, chunk_size=IDENTIFIERS)

    steps, rows = explain_counted(graph, "u0", "u4999")

    assert [step.message_id for step in steps] == [f"c{n}" for n in range(IDENTIFIERS - 1)]
    assert rows < 10 * IDENTIFIERS
