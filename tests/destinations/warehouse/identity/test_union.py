from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from destinations.warehouse.identity.fold import Sighting
from destinations.warehouse.identity.statements import Identifier
from destinations.warehouse.identity.union import (
    Anchor,
    Group,
    Link,
    Node,
    representative,
    settled_profiles,
    unite_groups,
)

START = datetime(2026, 3, 1, tzinfo=UTC)


def _sighting(second):
    return Sighting(START + timedelta(seconds=second), f"m{second}", "web")


def _new_node(number, second=0):
    key, sighting = UUID(int=number), _sighting(second)
    group = Group(number, Anchor(sighting.received_at, key))
    return Node(Identifier("user_id", str(number)), key, sighting, number, group)


def _stored_node(number, second, size=3, stored=2, seen=100):
    """A node of a stored profile of which it is the anchor."""
    node = _new_node(number, seen)
    node.first_received_at = _sighting(second).received_at
    anchor = Anchor(node.first_received_at, node.key)
    node.group = Group(number, anchor, size, stored, node.key, has_row=True, rank=size)
    return node


def _links(nodes, pairs):
    return [Link(nodes[a], nodes[b], _sighting(n)) for n, (a, b) in enumerate(pairs)]


def _parts(nodes):
    tops = [representative(node.group) for node in nodes]
    return {frozenset(i for i, t in enumerate(tops) if t is top) for top in tops}


def _components(count, pairs):
    """The components by flooding, to compare with."""
    parts = [{number} for number in range(count)]
    for a, b in pairs:
        joined = parts[a] | parts[b]
        for member in joined:
            parts[member] = joined
    return {frozenset(part) for part in parts}


edges = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)))


@given(edges)
def test_united_groups_are_the_connected_components(pairs):
    nodes = [_new_node(number) for number in range(15)]

    joined = unite_groups(_links(nodes, pairs), None)

    assert _parts(nodes) == _components(15, pairs)
    assert len(joined) == 15 - len(_parts(nodes))


@given(edges, st.randoms(), st.none() | st.integers(2, 6))
def test_the_earliest_link_joins_first_whatever_the_order_given(pairs, random, limit):
    nodes, others = ([_new_node(number) for number in range(15)] for _ in range(2))
    links, shuffled = _links(nodes, pairs), _links(others, pairs)
    random.shuffle(shuffled)

    unite_groups(links, limit)
    unite_groups(shuffled, limit)

    assert _parts(nodes) == _parts(others)
    assert all(len(part) <= (limit or 15) for part in _parts(nodes))


def test_a_link_beyond_the_limit_is_refused():
    nodes = [_new_node(number) for number in range(3)]
    links = _links(nodes, [(0, 1), (1, 2), (0, 2)])

    joined = unite_groups(links, 2)

    assert [link.state for link in links] == ["+", "r", "r"]
    assert joined == links[:1]


def test_the_root_of_most_groups_stays_and_the_oldest_gives_the_id():
    small, large = _stored_node(1, second=0, stored=1), _stored_node(2, second=5, size=9, stored=4)
    links = _links([small, large], [(0, 1)])
    joined = unite_groups(links, None)

    [profile] = settled_profiles([small.group, large.group], [small, large], joined)

    assert (profile.root_id, profile.size, profile.stored) == (2, 12, 5)
    assert profile.rudder_id == small.key
    assert profile.losers == [small.group]
    assert [(lost.old, lost.new, lost.message_id) for lost in profile.lost] == [
        (large.key, small.key, "m0")
    ]


def test_new_identifiers_alone_take_the_smallest_number_and_lose_no_id():
    nodes = [_new_node(5, second=2), _new_node(4, second=3)]
    joined = unite_groups(_links(nodes, [(0, 1)]), None)

    [profile] = settled_profiles([node.group for node in nodes], nodes, joined)

    assert (profile.root_id, profile.size, profile.stored) == (4, 2, 1)
    assert (profile.rudder_id, profile.lost, profile.is_changed) == (nodes[0].key, [], True)


def test_an_identifier_that_turned_out_older_takes_the_id_over():
    anchor = _stored_node(1, second=5)
    member = _new_node(2, second=3)
    member.first_received_at, member.group = _sighting(7).received_at, anchor.group

    [profile] = settled_profiles([anchor.group], [anchor, member], [])

    assert (profile.rudder_id, profile.size, profile.is_changed) == (member.key, 3, True)
    assert [(lost.old, lost.key_a, lost.message_id) for lost in profile.lost] == [
        (anchor.key, member.key, "m3")
    ]


def test_a_profile_that_nothing_happened_to_is_not_changed():
    node = _stored_node(1, second=5)

    [profile] = settled_profiles([node.group], [node], [])

    assert (profile.is_changed, profile.lost) == (False, [])
