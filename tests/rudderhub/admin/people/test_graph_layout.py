from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rudderhub.admin.people.graph_layout import (
    BOX_HEIGHT,
    BOX_WIDTH,
    LABELLED,
    MOST_LINES,
    MOST_NODES,
    GraphLink,
    GraphNode,
    graph_layout,
)

TYPES = ("user_id", "anonymous_id", "email")


def node(key, kind="user_id", **fields):
    return GraphNode(key, kind, f"value of {key}", **fields)


def link(a, b, state="joined"):
    return GraphLink(a, b, state, f"m-{a}-{b}", "stated first by a message")


def devices(count):
    """A user with so many devices."""
    nodes = [node("u"), *(node(f"d{n}", "anonymous_id") for n in range(count))]
    return nodes, [link(f"d{n}", "u") for n in range(count)]


def chain(count):
    nodes = [node(f"u{n}") for n in range(count)]
    return nodes, [link(a.key, b.key) for a, b in pairwise(nodes)]


def clique(count):
    nodes = [node(f"e{n}", "email") for n in range(count)]
    return nodes, [link(a.key, b.key) for a, b in combinations(nodes, 2)]


@st.composite
def graphs(draw):
    kinds = draw(st.lists(st.sampled_from(TYPES), min_size=2, max_size=30))
    nodes = [node(f"n{number}", kind) for number, kind in enumerate(kinds)]
    keys = [each.key for each in nodes]
    pairs = draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(keys)), max_size=60))
    return nodes, [link(a, b) for a, b in dict.fromkeys(pairs) if a != b]


def overlaps(drawn):
    return [
        (a.node.key, b.node.key)
        for a, b in combinations(drawn.boxes, 2)
        if abs(a.x - b.x) < BOX_WIDTH and abs(a.y - b.y) < BOX_HEIGHT
    ]


@given(graphs())
def test_no_box_covers_another_and_all_stand_inside(graph):
    drawn = graph_layout(*graph)

    assert overlaps(drawn) == []
    assert all(0 <= box.x <= drawn.width - BOX_WIDTH for box in drawn.boxes)
    assert all(0 <= box.y <= drawn.height - BOX_HEIGHT for box in drawn.boxes)


@given(graphs())
def test_the_same_graph_gives_the_same_picture(graph):
    assert graph_layout(*graph) == graph_layout(*graph)


@pytest.mark.parametrize("graph", [devices(1), devices(4), devices(19), devices(59), chain(60)])
def test_every_identifier_and_link_is_drawn_up_to_the_bound(graph):
    nodes, links = graph

    drawn = graph_layout(nodes, links)

    assert {box.node for box in drawn.boxes} == set(nodes)
    assert {line.link for line in drawn.lines} == set(links)
    assert drawn.left_out_lines == 0


def test_many_devices_stand_on_both_sides_of_their_user():
    drawn = graph_layout(*devices(40))

    user = next(box for box in drawn.boxes if box.node.key == "u")
    left = sum(box.x < user.x for box in drawn.boxes)
    assert left == 20
    assert drawn.height < 25 * 52


def test_of_too_many_identifiers_those_with_the_most_links_are_drawn():
    nodes, links = devices(100)
    nodes = [node("lonely", "email"), *nodes, node("late", "anonymous_id")]

    drawn = graph_layout(nodes, [*links, link("late", "u")])

    keys = {box.node.key for box in drawn.boxes}
    assert len(keys) == MOST_NODES
    assert "u" in keys
    assert "lonely" not in keys
    assert drawn.nodes == 103


def test_a_path_is_drawn_whatever_is_left_out():
    nodes, links = devices(100)
    path = {frozenset(("d99", "u"))}

    drawn = graph_layout(nodes, links, path)

    assert {box.node.key for box in drawn.boxes if box.is_on_path} == {"d99", "u"}
    assert [line.link.a for line in drawn.lines if line.is_on_path] == ["d99"]


def test_too_many_links_are_counted_and_left_out():
    drawn = graph_layout(*clique(30))

    assert len(drawn.lines) == MOST_LINES
    assert drawn.left_out_lines == 30 * 29 // 2 - MOST_LINES


def test_types_have_shapes_and_a_line_says_what_it_is():
    nodes = [node("u"), node("d", "anonymous_id"), node("e", "email", is_member=False)]

    drawn = graph_layout(nodes, [link("d", "u"), link("u", "e", "cut")])

    assert [box.shape for box in drawn.boxes] == ["circle", "square", "diamond"]
    assert drawn.boxes[2].title == "email value of e, not in this profile"
    assert [line.title for line in drawn.lines] == [
        "anonymous_id value of d to user_id value of u: stated first by a message",
        "user_id value of u to email value of e: stated first by a message",
    ]
    assert drawn.states == ["cut"]


def test_a_line_past_a_lane_runs_through_a_gap():
    nodes = [node("d", "anonymous_id"), node("u1"), node("u2"), node("e", "email")]

    drawn = graph_layout(nodes, [link("d", "u1"), link("d", "u2"), link("d", "e"), link("e", "u1")])

    line = next(each for each in drawn.lines if {each.link.a, each.link.b} == {"d", "e"})
    inside = [box for box in drawn.boxes if box.y < line.label_y < box.y + BOX_HEIGHT]
    assert {box.node.key for box in inside}.isdisjoint({"u1", "u2"})


def test_labels_show_only_where_there_is_room():
    assert graph_layout(*devices(LABELLED)).has_labels
    assert not graph_layout(*devices(LABELLED + 1)).has_labels


def test_a_long_value_keeps_its_beginning_and_its_end():
    (box,) = graph_layout([GraphNode("k", "user_id", "0123456789" * 5)], []).boxes

    assert box.label == "01234567890123…23456789"
    assert box.title.endswith("0123456789" * 5)
