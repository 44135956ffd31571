from __future__ import annotations

import json

import pytest

from destinations.postgres.operations import erase
from destinations.warehouse.identity.erasure import DELETE
from tests.support.events import event
from tests.support.identity_graph import Graph, anonymous, user

ROWS = """
    SELECT id, user_id, anonymous_id, event, "a ""%s"" {x}", label, facts
    FROM app."t "" {x}"
    ORDER BY id
"""


@pytest.fixture
def graph(warehouse):
    warehouse.execute(
        """
        CREATE SCHEMA app;
        CREATE DOMAIN app.label AS text;
        CREATE TABLE app."t "" {x}" (
            id text PRIMARY KEY, dropped text, user_id text, anonymous_id varchar(99), event text,
            "a ""%s"" {x}" text COLLATE "C", label app.label, facts jsonb, count bigint,
            rudder_profile_id uuid
        );
        ALTER TABLE app."t "" {x}" DROP COLUMN dropped;
        """
    )
    return Graph(warehouse)


def add(graph, stamp, *row):
    *texts, facts = row
    graph.conn.execute(
        'INSERT INTO app."t "" {x}" VALUES (%s, %s, %s, %s, %s, %s, %s, 1, %s)',
        [*texts, json.dumps(facts), stamp],
    )


def erased(graph, *identifiers, mode=DELETE, **options):
    with graph.operation(["app"], actor="eve", **options) as op:
        return erase.erase_identifiers(op, identifiers, mode)


@pytest.mark.parametrize(
    "value", ["plain", 'a "b" c', "a\\", "it's", "100%s {0} $1", "é☃\U0001f600", "a\nb", "{", "a,b"]
)
def test_a_value_goes_from_the_rows_that_stay_whatever_is_in_it(graph, value):
    graph.load(event(1, anonymousId=value, userId="ann"), event(2, userId="bob"))
    ann, bob = graph.profile("ann"), graph.profile("bob")
    add(graph, ann, "1", "ann", value, "Looked", value, "l", {"a": [{"b": value}]})
    add(graph, ann, "2", "ann", "x", value, "y", value, {"a": {value: 1}})
    add(graph, None, "3", "ann", value, "Looked", "y", "l", value)
    add(graph, ann, "4", value, "x", value, value + "y", "l", {"a": f"{value}y", "b": [1, {}]})
    add(graph, bob, "5", "bob", value, value, value, value, {"a": value})

    done = erased(graph, anonymous(value))

    assert graph.conn.execute(ROWS).fetchall() == [
        ("1", "ann", None, "Looked", None, "l", None),
        ("2", "ann", "x", value, "y", None, None),
        ("3", "ann", None, "Looked", "y", "l", None),
        ("4", value, "x", value, value + "y", "l", {"a": f"{value}y", "b": [1, {}]}),
        ("5", "bob", value, value, value, value, {"a": value}),
    ]
    assert done.counts['app.t " {x} (values)'] == 3
    assert 'app.t " {x}' not in done.counts


@pytest.mark.parametrize(
    ("mode", "left"),
    [
        ("delete", [("b", "bob", None, "Looked", None, "l", None)]),
        (
            "blank",
            [
                ("b", "bob", None, "Looked", None, "l", None),
                ("d0", None, None, "Looked", None, None, None),
                ("d299", None, None, "Looked", None, None, None),
                ("n", None, None, "Looked", None, None, None),
            ],
        ),
    ],
)
def test_the_rows_of_hundreds_of_identifiers_go_with_their_discards(graph, mode, left):
    devices = [anonymous(f"d{number}") for number in range(300)]
    graph.load(
        *(event(1, anonymousId=value, userId="ann", messageId=value) for _, value in devices),
        event(2, anonymousId="d7", userId="ann"),
        event(3, userId="bob"),
        chunk_size=400,
    )
    ann, bob = graph.profile("ann"), graph.profile("bob")
    add(graph, ann, "d0", None, "d0", "Looked", "x", "l", {})
    add(graph, ann, "d299", "ann", "d299", "Looked", "x", "l", {})
    add(graph, None, "n", None, "d150", "Looked", "x", "l", {})
    add(graph, ann, "b", "bob", "d200", "Looked", "d201", "l", ["d202"])
    graph.conn.execute(
        """
        CREATE TABLE app.rudder_discards (table_name text, row_id text, column_value text);
        INSERT INTO app.rudder_discards VALUES
            ('t " {x}', 'd0', 'x'), ('t " {x}', 'b', 'y'), ('other', 'd0', 'z'),
            ('users', 'ann', 'v'), ('users', 'bob', 'w'), ('other', 'o', 'd33')
        """
    )

    done = erased(graph, user("ann"), *devices, mode=mode)

    assert graph.conn.execute(ROWS).fetchall() == left
    assert done.counts['app.t " {x}'] == 3
    assert done.counts['app.t " {x} (values)'] == 1
    assert graph.conn.execute(
        "SELECT table_name, row_id FROM app.rudder_discards ORDER BY 1, 2"
    ).fetchall() == [("other", "d0"), ('t " {x}', "b"), ("users", "bob")]
    assert bob == graph.profile("bob")


def test_a_value_that_is_no_stored_identifier_goes_from_the_ids_of_all_rows(graph):
    graph.load(event(1, userId="bob"))
    bob = graph.profile("bob")
    add(graph, bob, "1", "bob", "never-seen", "Looked", "never-seen", "l", {})

    done = erased(graph, anonymous("never-seen"))

    assert graph.conn.execute(ROWS).fetchall() == [
        ("1", "bob", None, "Looked", "never-seen", "l", {})
    ]
    assert done.counts == {'app.t " {x} (values)': 1}


def test_a_table_without_texts_or_of_other_rows_is_left_alone(graph):
    graph.conn.execute(
        """
        CREATE TABLE app.numbers (n bigint, rudder_profile_id uuid);
        CREATE TABLE app.mine (id text, user_id text, anonymous_id text, note text);
        INSERT INTO app.numbers VALUES (1, NULL);
        INSERT INTO app.mine VALUES ('1', 'ann', 'ann', 'ann')
        """
    )
    graph.load(event(1, userId="ann"))

    done = erased(graph, user("ann"))

    assert done.counts == {
        "identity_activity": 1,
        "identity_edge": 1,
        "identity_node": 1,
        "rudder_profiles": 1,
    }
    assert graph.conn.execute("SELECT * FROM app.mine").fetchall() == [("1", "ann", "ann", "ann")]
