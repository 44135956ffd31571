from __future__ import annotations

from datetime import UTC, datetime

import pytest

from destinations.postgres.identity import profile_rows
from tests.support.events import event
from tests.support.identity_graph import SCENARIOS, Graph, anonymous, user


@pytest.fixture
def graph(warehouse):
    return Graph(warehouse)


def _at(second):
    return datetime(2026, 3, 1, 10, 0, second, tzinfo=UTC)


def test_a_profile_shows_its_identifiers_names_and_times(graph):
    traits = {"email": "ann@x.example", "firstName": "Ann", "lastName": "Lee", "age": 7}

    graph.load(
        event(4, "identify", userId="u1", anonymousId="a1", traits=traits),
        event(2, anonymousId="a1"),
        event(9, userId="u1"),
    )

    assert graph.rows("""
        SELECT user_id, email, name, traits, identifiers, identifier_count,
            first_seen_at, last_seen_at
        FROM {schema}.rudder_profiles
    """) == [
        (
            "u1",
            "ann@x.example",
            "Ann Lee",
            traits,
            {"anonymous_id": ["a1"], "user_id": ["u1"]},
            2,
            _at(2),
            _at(9),
        )
    ]


def test_an_old_identify_does_not_overwrite_but_adds_what_is_new(graph):
    graph.load(event(9, "identify", userId="u1", traits={"plan": "pro"}))

    graph.load(event(3, "identify", userId="u1", traits={"plan": "free", "city": "Rome"}))

    assert graph.rows("SELECT traits, first_seen_at FROM {schema}.rudder_profiles") == [
        ({"plan": "pro", "city": "Rome"}, _at(3))
    ]


def test_traits_of_both_sides_are_joined_when_profiles_meet(graph):
    graph.load(event(1, "identify", userId="u1", traits={"plan": "pro", "city": "Rome"}))
    graph.load(event(2, "identify", userId="u2", traits={"plan": "free"}))

    graph.load(event(3, "alias", userId="u2", previousId="u1"))

    assert graph.rows("SELECT user_id, traits FROM {schema}.rudder_profiles") == [
        ("u2", {"plan": "free", "city": "Rome"})
    ]


def test_the_user_id_is_that_of_the_latest_event_not_of_the_latest_arrival(graph):
    scenario = SCENARIOS["canonical-user-id-is-the-most-recent"]

    graph.load(*scenario["given"])

    assert graph.rows("SELECT user_id FROM {schema}.rudder_profiles") == [("new",)]
    assert graph.profile("old") == graph.profile("a1") == graph.profile("new")


def test_events_of_known_people_move_only_the_times(graph):
    graph.load(
        event(1, userId="u1", anonymousId="a1"), event(2, "alias", userId="u2", previousId="u1")
    )

    graph.load(event(5, userId="u1"), event(6, anonymousId="a1"), event(7, userId="u2"))

    assert graph.rows(
        "SELECT user_id, first_seen_at, last_seen_at FROM {schema}.rudder_profiles"
    ) == [("u2", _at(1), _at(7))]

    graph.load(event(8, userId="u1"))

    assert graph.rows("SELECT user_id, last_seen_at FROM {schema}.rudder_profiles") == [
        ("u1", _at(8))
    ]


def test_a_profile_is_found_by_every_identifier_by_type_and_by_its_ids(graph):
    graph.load(
        event(1, userId="42"),
        event(2, anonymousId="42"),
        event(3, "merge", userId="u1", mergeProperties=[{"type": "email", "value": "e@x"}]),
    )

    found = graph.rows("SELECT rudder_id FROM {schema}.rudder_profile('42')")
    typed = graph.rows("SELECT rudder_id FROM {schema}.rudder_profile('42', 'anonymous_id')")
    assert found == [(graph.key(user("42")),), (graph.key(anonymous("42")),)]
    assert typed == [(graph.key(anonymous("42")),)]
    assert graph.profile("e@x") == graph.profile("u1") == graph.profile(str(graph.profile("u1")))
    assert graph.rows("SELECT * FROM {schema}.rudder_profile('nobody')") == []


def test_values_that_jsonb_cannot_hold_are_cleaned(graph):
    graph.load(event(1, "identify", userId="u\0001", traits={"na\0me": "Zoë\0", "deep": ["\0"]}))

    assert graph.rows("SELECT user_id, traits FROM {schema}.rudder_profiles") == [
        ("u1", {"name": "Zoë", "deep": [""]})
    ]


def test_a_large_profile_is_marked_and_refreshed_later(graph):
    most = profile_rows.REFRESHED_AT_ONCE
    devices = [event(n, userId="u1", anonymousId=f"a{n}") for n in range(2, most + 1)]
    graph.load(*devices, chunk_size=most)
    graph.load(event(1, userId="u1", anonymousId="older"))
    counts = "SELECT rudder_id, identifier_count FROM {schema}.rudder_profiles"
    before = graph.rows(counts)

    refreshed = profile_rows.refresh_marked(graph.conn, graph.schema)

    oldest = min(graph.key(user("u1")), graph.key(anonymous("older")))
    assert (before, refreshed) == ([(oldest, most)], 1)
    assert graph.rows(counts) == [(oldest, most + 1)]
    assert profile_rows.refresh_marked(graph.conn, graph.schema) == 0


def test_a_group_is_an_account_with_the_people_of_its_group_calls(graph):
    graph.load(*SCENARIOS["group-calls-do-not-join-people"]["given"])
    members = "SELECT group_id, rudder_id FROM {schema}.rudder_account_members ORDER BY rudder_id"
    u1, u2 = graph.key(user("u1")), graph.key(user("u2"))

    assert graph.rows("SELECT * FROM {schema}.rudder_accounts") == [
        ("acme", {"seats": 5}, _at(1), _at(2))
    ]
    assert graph.rows(members) == sorted([("acme", u1), ("acme", u2)])

    graph.load(event(3, "alias", userId="u1", previousId="u2"))

    assert graph.rows(members) == [("acme", u1)]


def test_an_accounts_traits_are_the_latest_and_null_does_not_clear(graph):
    group = {"userId": "u1", "groupId": "x" * 4000}

    graph.load(
        event(5, "group", **group, traits={"seats": 5, "plan": "pro"}),
        event(3, "group", **group, traits={"seats": 3, "city": "Oslo"}),
        event(7, "group", **group, traits={"plan": None}),
        event(8, "group", userId="u1", groupId=" "),
    )

    assert graph.rows("SELECT * FROM {schema}.rudder_accounts") == [
        ("x" * 4000, {"seats": 5, "plan": "pro", "city": "Oslo"}, _at(3), _at(7))
    ]
