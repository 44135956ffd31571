from __future__ import annotations

import uuid

import pytest

from destinations.postgres import resolved_views
from tests.support.events import event
from tests.support.identity_graph import SCHEMA, Graph, anonymous


@pytest.fixture
def graph(warehouse):
    warehouse.execute("CREATE SCHEMA web")
    warehouse.execute(
        "CREATE TABLE web.tracks (id text, rudder_profile_id uuid, rudder_id text, event text)"
    )
    return Graph(warehouse)


def _create(graph, *columns):
    resolved_views.create_resolved_view(graph.conn, SCHEMA, "web", "tracks", columns)


def _columns(graph):
    cursor = graph.conn.execute("SELECT * FROM web.tracks_resolved")
    return [column.name for column in cursor.description]


def test_the_view_shows_rows_under_the_id_of_now(graph):
    old, new = graph.key(anonymous("a2")), graph.key(anonymous("a1"))
    unknown = uuid.uuid4()
    for row in (("1", old), ("2", new), ("3", unknown), ("4", None)):
        graph.conn.execute("INSERT INTO web.tracks (id, rudder_profile_id) VALUES (%s, %s)", row)
    _create(graph, "id", "rudder_profile_id", "rudder_id", "event")

    graph.load(event(1, anonymousId="a1"), event(2, anonymousId="a2"))
    for second, device in ((3, "a1"), (4, "a2")):
        graph.load(event(second, "identify", anonymousId=device, userId="u1"))

    assert _columns(graph) == ["rudder_id", "id", "rudder_profile_id", "event"]
    assert graph.conn.execute(
        "SELECT id, rudder_id FROM web.tracks_resolved ORDER BY id"
    ).fetchall() == [
        ("1", new),
        ("2", new),
        ("3", unknown),
        ("4", None),
    ]


def test_a_new_column_is_added_at_the_end(graph):
    _create(graph, "id", "rudder_profile_id")

    _create(graph, "id", "rudder_profile_id", "event")

    assert _columns(graph) == ["rudder_id", "id", "rudder_profile_id", "event"]


def test_a_view_with_other_changes_of_columns_is_recreated(graph):
    _create(graph, "id", "event", "rudder_profile_id")

    with graph.conn.transaction():
        _create(graph, "event", "rudder_profile_id")

    assert _columns(graph) == ["rudder_id", "event", "rudder_profile_id"]


def test_a_columns_type_can_change_between_drop_and_create(graph):
    _create(graph, "id", "event")

    with graph.conn.transaction():
        resolved_views.drop_resolved_view(graph.conn, "web", "tracks")
        graph.conn.execute("ALTER TABLE web.tracks ALTER COLUMN event TYPE varchar")
        _create(graph, "id", "event")

    assert _columns(graph) == ["rudder_id", "id", "event"]


def test_a_table_of_one_event_has_no_view(graph):
    graph.conn.execute("CREATE TABLE web.signed_up (id text)")

    resolved_views.create_resolved_view(graph.conn, SCHEMA, "web", "signed_up", ["id"])

    assert graph.conn.execute("SELECT to_regclass('web.signed_up_resolved')").fetchone() == (None,)
