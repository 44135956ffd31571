"""Tables that other loads and people's hands change between and during loads."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from destinations.interface import (
    ChunkRefusedError,
    DestinationError,
    DestinationUnavailableError,
)
from tests.support.chunks import load
from tests.support.events import identify, moment, track
from tests.support.warehouse import rows

LOADS = 12


def load_patiently(session, *events):
    """As the loads do: what is in the way for a moment is tried again."""
    for _ in range(50):
        try:
            return load(session, *events)
        except (DestinationError, DestinationUnavailableError):
            continue
    return load(session, *events)


def load_with_columns(session, name):
    """Chunks of which each brings a column that all bring and one that only this one brings."""
    for number in range(LOADS):
        properties = {"shared": 1, f"all_{number}": True, f"{name}_{number}": number}
        load_patiently(session, track(f"{name}{number}", properties=properties))


def test_connections_that_grow_one_table_side_by_side_all_succeed(open_session, warehouse):
    names = ("a", "b", "c")
    sessions = [open_session(number) for number in range(len(names))]

    with ThreadPoolExecutor(len(names)) as together:
        list(together.map(load_with_columns, sessions, names))

    assert rows(warehouse, "SELECT count(*), sum(shared) FROM shop.clicked") == [(36, 36)]
    assert rows(warehouse, "SELECT b_7, a_7 FROM shop.clicked WHERE id = 'b7'") == [(7, None)]
    assert rows(
        warehouse,
        """
        SELECT count(*) FROM information_schema.columns
        WHERE table_schema = 'shop' AND table_name = 'clicked' AND column_name ~ '^(all|a|b|c)_'
        """,
    ) == [(4 * LOADS,)]


def test_connections_that_create_the_namespace_at_the_same_time_all_succeed(
    open_session, warehouse
):
    sessions = [open_session(number) for number in range(4)]

    with ThreadPoolExecutor(4) as together:
        list(
            together.map(
                lambda s: load_patiently(s, track(f"m{id(s)}"), identify(f"i{id(s)}")), sessions
            )
        )

    assert rows(warehouse, "SELECT count(*) FROM shop.tracks") == [(4,)]
    assert rows(warehouse, "SELECT count(*) FROM shop.users") == [(1,)]


CHANGES = {
    "a column dropped": ["ALTER TABLE shop.clicked DROP COLUMN IF EXISTS a CASCADE"],
    "a column renamed": [
        "ALTER TABLE shop.clicked ADD COLUMN IF NOT EXISTS a bigint",
        "ALTER TABLE shop.clicked DROP COLUMN IF EXISTS old_a",
        "ALTER TABLE shop.clicked RENAME COLUMN a TO old_a",
    ],
    "a column retyped": [
        "ALTER TABLE shop.clicked ALTER COLUMN a TYPE text",
        "ALTER TABLE shop.clicked ALTER COLUMN a TYPE bigint USING a::bigint",
        "ALTER TABLE shop.clicked ALTER COLUMN a TYPE numeric USING a::numeric",
    ],
    "the table dropped": ["DROP TABLE IF EXISTS shop.clicked CASCADE"],
    "the table renamed": [
        "DROP TABLE IF EXISTS shop.before",
        "ALTER TABLE IF EXISTS shop.clicked RENAME TO before",
    ],
    "tracks dropped": ["DROP TABLE IF EXISTS shop.tracks CASCADE"],
    "the schema dropped": ["DROP SCHEMA IF EXISTS shop CASCADE"],
}


def change_by_hand(conn, statements, seconds):
    """How many of the statements somebody succeeds with who begins after the seconds."""
    time.sleep(seconds)
    return sum(succeeds(conn, statement) for statement in statements)


def succeeds(conn, statement):
    try:
        conn.execute(statement)
    except psycopg.Error:
        return False  # its object is not there just now
    return True


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_by_hand_between_loads_is_read_again(open_session, warehouse, change):
    session = open_session()
    load(session, track("m1", properties={"a": 1}))
    for statement in CHANGES[change]:
        warehouse.execute(statement)

    load(session, track("m2", properties={"a": 2}))

    assert rows(warehouse, "SELECT a::text FROM shop.clicked WHERE id = 'm2'") == [("2",)]
    assert rows(warehouse, "SELECT event FROM shop.tracks WHERE id = 'm2'") == [("clicked",)]


@pytest.mark.parametrize("change", CHANGES)
def test_changes_by_hand_during_loads_stop_none(open_session, warehouse, warehouse_url, change):
    """Each load meets them once, at a moment of its own: a load tries again so many times only."""
    session, chance, changes = open_session(), random.Random(change), 0
    load(session, track("m", properties={"a": 1}))

    with (
        psycopg.connect(warehouse_url, autocommit=True) as conn,
        ThreadPoolExecutor(1) as hand,
    ):
        for number in range(30):
            wait = chance.uniform(0, 0.04)
            changed = hand.submit(change_by_hand, conn, CHANGES[change], wait)
            load_patiently(session, track(f"m{number}", properties={"a": number}))
            changes += changed.result()

    load(session, track("last", properties={"a": 7}))
    assert changes
    assert session.position() == 32
    assert rows(warehouse, "SELECT a::text FROM shop.clicked WHERE id = 'last'") == [("7",)]


def test_a_table_of_the_users_own_gets_our_columns_and_a_key(open_session, warehouse):
    warehouse.execute("CREATE SCHEMA shop")
    warehouse.execute("CREATE TABLE shop.clicked (note text)")
    warehouse.execute("INSERT INTO shop.clicked VALUES ('mine'), ('too')")
    session = open_session()

    load(session, track("m1", properties={"a": 1}))
    load(session, track("m1", properties={"a": 1}))

    assert rows(warehouse, "SELECT note, id, a FROM shop.clicked ORDER BY note") == [
        ("mine", None, None),
        ("too", None, None),
        (None, "m1", 1),
    ]


def test_a_table_without_a_key_from_another_loader_is_loaded(open_session, warehouse):
    warehouse.execute("CREATE SCHEMA shop")
    warehouse.execute("CREATE TABLE shop.tracks (id text, received_at timestamptz, event text)")
    warehouse.execute("INSERT INTO shop.tracks VALUES ('m1', %s, 'before')", [moment(9)])
    session = open_session()

    load(session, track("m1", moment(1)), track("m2", moment(1)))

    assert rows(warehouse, "SELECT id, event FROM shop.tracks ORDER BY id") == [
        ("m1", "before"),
        ("m2", "clicked"),
    ]


OBSTACLES = {
    "CREATE VIEW shop.clicked AS SELECT 1 AS id": "shop.clicked is a view",
    "CREATE SEQUENCE shop.clicked": "shop.clicked is a sequence",
    "CREATE MATERIALIZED VIEW shop.clicked AS SELECT 1 AS id": "is a materialized view",
    "CREATE TYPE shop.clicked AS (a int)": "shop.clicked is a type",
    "CREATE TYPE shop.clicked AS ENUM ('a')": 'shop.clicked: type "clicked" already exists',
    "CREATE TABLE shop.clicked (id bigint PRIMARY KEY)": "column id of shop.clicked is int",
    "CREATE TABLE shop.clicked (id text PRIMARY KEY, received_at date)": (
        "column received_at of shop.clicked is date, expected datetime"
    ),
    "CREATE TABLE shop.clicked (id text PRIMARY KEY, note text NOT NULL)": (
        "shop.clicked requires a value in note"
    ),
    "CREATE TABLE shop.clicked AS SELECT 'x' AS id FROM generate_series(1, 2)": (
        "shop.clicked has rows with the same id"
    ),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_an_object_with_the_name_of_a_table_refuses_only_its_events(
    open_session, warehouse, obstacle
):
    warehouse.execute("CREATE SCHEMA shop")
    warehouse.execute(obstacle)
    session = open_session()

    with pytest.raises(ChunkRefusedError, match=OBSTACLES[obstacle]) as refused:
        load(session, track("m1", event="Viewed"), track("m2"), track("m3", event="Viewed"))

    assert refused.value.reasons.keys() == {2}
    load(session, track("m1", event="Viewed"))
    assert rows(warehouse, "SELECT id FROM shop.viewed") == [("m1",)]


def test_values_that_a_narrow_column_cannot_hold_are_discards(open_session, warehouse):
    warehouse.execute("CREATE SCHEMA shop")
    warehouse.execute(
        "CREATE TABLE shop.clicked (n smallint, t varchar(3), p numeric(4, 1), d date, r real)"
    )
    session = open_session()
    fits = {"n": 7, "t": "abc", "p": 12.5, "r": 0.5}

    load(session, track("m1", properties=fits))
    load(session, track("m2", properties={"n": 40000, "t": "abcd", "p": 1.25, "d": "x"}))

    assert rows(warehouse, "SELECT n, t, p::text, d, r FROM shop.clicked ORDER BY id") == [
        (7, "abc", "12.5", None, 0.5),
        (None, None, None, None, None),
    ]
    assert rows(
        warehouse, "SELECT column_name, column_value FROM shop.rudder_discards ORDER BY 1"
    ) == [("d", "x"), ("n", "40000"), ("p", "1.25"), ("t", "abcd")]


def test_a_generated_column_of_the_users_own_stays(open_session, warehouse):
    session = open_session()
    load(session, track("m1", moment(1)))
    warehouse.execute(
        "ALTER TABLE shop.clicked ADD COLUMN twice text GENERATED ALWAYS AS (id || id) STORED"
    )

    load(session, track("m1", moment(2), properties={"twice": "x"}), track("m2"))

    assert rows(warehouse, "SELECT id, twice FROM shop.clicked ORDER BY id") == [
        ("m1", "m1m1"),
        ("m2", "m2m2"),
    ]
    assert rows(warehouse, "SELECT column_value FROM shop.rudder_discards") == [("x",)]


@pytest.fixture
def helper_role(warehouse):
    warehouse.execute("DROP ROLE IF EXISTS rudder_helper")
    warehouse.execute("CREATE ROLE rudder_helper LOGIN PASSWORD 'correct horse'")
    warehouse.execute("GRANT rudder_helper TO CURRENT_USER")
    database = warehouse.info.dbname
    warehouse.execute(f'GRANT CREATE, TEMPORARY ON DATABASE "{database}" TO rudder_helper')
    yield "rudder_helper"
    warehouse.execute("DROP OWNED BY rudder_helper CASCADE")
    warehouse.execute("DROP ROLE rudder_helper")


@pytest.mark.parametrize(
    ("prepared", "granted"),
    [
        (["CREATE SCHEMA shop"], ["GRANT USAGE, CREATE ON SCHEMA shop TO rudder_helper"]),
        (
            [
                "CREATE SCHEMA shop AUTHORIZATION rudder_helper",
                "CREATE TABLE shop.clicked (id text PRIMARY KEY)",
            ],
            ["ALTER TABLE shop.clicked OWNER TO rudder_helper"],
        ),
    ],
)
def test_a_load_without_rights_reports_it_and_succeeds_once_it_has_them(
    open_session, warehouse, helper_role, prepared, granted
):
    for statement in prepared:
        warehouse.execute(statement)
    session = open_session(user=helper_role, password="correct horse")

    with pytest.raises(DestinationError, match=r"permission denied|must be owner"):
        load(session, track("m1"))

    for statement in granted:
        warehouse.execute(statement)
    load(session, track("m1"))
    session.close()
    assert rows(warehouse, "SELECT id FROM shop.clicked") == [("m1",)]


def test_a_load_waits_for_a_locked_table_up_to_a_limit(open_session, warehouse, warehouse_url):
    session = open_session()
    conn = session._conn  # noqa: SLF001 - to wait less long
    limit = conn.execute("SHOW lock_timeout").fetchone()
    conn.execute("SET lock_timeout = '200ms'")
    load(session, track("m1"))
    with psycopg.connect(warehouse_url) as other:
        other.execute("LOCK TABLE shop.clicked")

        with pytest.raises(DestinationUnavailableError, match="lock timeout"):
            load(session, track("m2", properties={"new": 1}))

    assert limit == ("30s",)
    load(session, track("m2", properties={"new": 1}))
    assert rows(warehouse, "SELECT id FROM shop.clicked ORDER BY id") == [("m1",), ("m2",)]


def test_a_view_of_the_users_own_keeps_a_column_from_widening(open_session, warehouse):
    session = open_session()
    load(session, track("m1", context={"app": {"build": 1}}))
    warehouse.execute("CREATE VIEW shop.mine AS SELECT context_app_build FROM shop.tracks_resolved")

    load(session, track("m2", context={"app": {"build": 1.5, "name": "x"}}))

    assert rows(warehouse, "SELECT context_app_build FROM shop.mine ORDER BY 1") == [(1,), (None,)]
    assert rows(
        warehouse, "SELECT table_name, column_value FROM shop.rudder_discards ORDER BY 1"
    ) == [("tracks", "1.5")]


def test_an_event_named_like_an_index_refuses_only_itself(open_session, warehouse):
    session = open_session()
    load(session, track("m1"))

    with pytest.raises(ChunkRefusedError, match=r"shop\.tracks_pkey is an index"):
        load(session, track("m2", event="tracks pkey"))


def test_many_random_keys_add_no_more_columns_than_the_budget(open_session, warehouse):
    session = open_session(column_budget=60)
    junk = [
        track(f"m{number}", properties={f"key {number * 100 + key}": key for key in range(100)})
        for number in range(100)
    ]

    result = load(session, *junk)
    later = load(session, track("m100", properties={"key 20000": 1}))

    assert len(result.warnings) == 1
    assert "limit of 60 columns" in result.warnings[0]
    assert later.warnings == ()
    (count,) = rows(
        warehouse,
        """
        SELECT count(*) FROM information_schema.columns
        WHERE table_schema = 'shop' AND table_name = 'clicked'
        """,
    )[0]
    assert count <= 60
    assert rows(
        warehouse,
        """
        SELECT count(*) FROM shop.clicked t, jsonb_object_keys(
            jsonb_strip_nulls(to_jsonb(t)) - 'rudder_extra' || coalesce(rudder_extra, '{}')
        ) AS key
        WHERE key LIKE 'key_%'
        """,
    ) == [(10_001,)]


def test_the_columns_of_the_context_count_towards_the_budget(open_session, warehouse):
    session = open_session(column_budget=40)

    load(session, track("m1", context={"junk": {f"key{n}": n for n in range(200)}}))

    assert rows(
        warehouse, "SELECT (rudder_extra->>'context_junk_key199')::int FROM shop.tracks"
    ) == [(199,)]
