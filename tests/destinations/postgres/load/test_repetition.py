"""The same events again, in any order and batching, change no row and no count."""

from __future__ import annotations

import random

import pytest
from psycopg.sql import SQL, Identifier

from tests.support.chunks import load
from tests.support.events import identify, moment, timestamp_text, track

VALUES = {"size": True, "price": 1.5, "tags": ["a"], "junk": {"deep": 1, "wide": "x"}}
BOTH = {"properties": VALUES, "traits": VALUES}
TYPES_OF_COLUMNS = [
    track("t0", moment(0), **BOTH),
    identify("i0", "u0", moment(0), plan="free", vip=True) | {"anonymousId": "a0"},
    track("p0", moment(0), **BOTH) | {"type": "page", "name": "Home"},
    track("g0", moment(0), **BOTH) | {"type": "group", "groupId": "g"},
    track("l0", moment(0), **BOTH) | {"type": "alias", "previousId": "u9"},
]


def random_event(chance, number):
    """An event that fits its columns, or has a value that does not."""
    at = moment(number + 1)
    properties = {
        "size": chance.choice([True, False, "large"]),
        "price": chance.choice([1, 2.5, 10**30]),
        "tags": chance.choice([["b", 1], "c", None]),
        "junk": chance.choice([None, {"deep": number}, {"wide": "x"}]),
    }
    user = chance.choice(["u1", "u2", "u3"])
    kind = chance.choice(["track", "track", "page", "group", "alias", "identify"])
    if kind == "identify":
        traits = {"plan": chance.choice(["pro", None]), "vip": chance.choice([True, "yes", None])}
        return identify(f"m{number}", user, at, **traits)
    own = {"page": {"name": "Shop"}, "group": {"groupId": user}, "alias": {"previousId": user}}
    event = track(f"m{number}", at, userId=user, properties=properties, traits=properties)
    return {**event, "type": kind, "anonymousId": f"a{number}", **own.get(kind, {})}


def some_events(chance):
    """Also with ids that come again, sent otherwise at another time."""
    events = [random_event(chance, number) for number in range(40)]
    changed = [
        random_event(chance, 100 + number) | {"messageId": f"m{number}"} for number in range(8)
    ]
    return events + changed


def load_in_parts(chance, session, events):
    events = list(events)
    counts = {}
    while events:
        size = chance.randint(1, 15)
        part, events = events[:size], events[size:]
        for table, rows in load(session, *part).rows.items():
            counts[table] = counts.get(table, 0) + rows
    return counts


def stored_rows(warehouse, schema, *without):
    """Every table's rows, but for columns to leave out."""
    tables = warehouse.execute(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = %s ORDER BY 1", [schema]
    ).fetchall()
    found = {}
    for (table,) in tables:
        query = SQL("SELECT to_jsonb(t) - %s::text[] FROM {} t").format(Identifier(schema, table))
        stored = warehouse.execute(query, [list(without)]).fetchall()
        found[table] = sorted(repr(sorted(row.items())) for (row,) in stored)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_the_order_and_the_batching_do_not_matter(open_session, warehouse, seed):
    chance = random.Random(seed)
    events = some_events(chance)
    one = open_session(1, "one", resolve_identities=False)
    two = open_session(2, "two", resolve_identities=False)

    for session in (one, two):
        load(session, *TYPES_OF_COLUMNS)
        chance.shuffle(events)
        load_in_parts(chance, session, events)

    assert stored_rows(warehouse, "one", "uuid_ts") == stored_rows(warehouse, "two", "uuid_ts")


@pytest.mark.parametrize("seed", range(3))
def test_events_that_come_again_change_nothing(open_session, warehouse, seed):
    chance = random.Random(seed)
    events = TYPES_OF_COLUMNS + some_events(chance)
    session = open_session()
    load_in_parts(chance, session, events)
    before = stored_rows(warehouse, "shop")
    chance.shuffle(events)

    counts = load_in_parts(chance, session, events)

    assert set(counts.values()) == {0}
    assert stored_rows(warehouse, "shop") == before


@pytest.mark.parametrize("seed", range(3))
def test_a_new_connection_into_the_same_namespace_changes_nothing(open_session, warehouse, seed):
    chance = random.Random(seed)
    events = TYPES_OF_COLUMNS + some_events(chance)
    load_in_parts(chance, open_session(1), events)
    before = stored_rows(warehouse, "shop")

    counts = load_in_parts(chance, open_session(2), events)

    assert set(counts.values()) == {0}
    assert stored_rows(warehouse, "shop") == before


def test_what_an_sdk_sends_again_is_no_row_more(open_session, warehouse):
    times = ("receivedAt", "timestamp")
    events = TYPES_OF_COLUMNS + [random_event(random.Random(1), number) for number in range(20)]
    session = open_session()
    load(session, *events)
    without = ("uuid_ts", "received_at", "timestamp")
    before = stored_rows(warehouse, "shop", *without)
    later = {
        event["messageId"]: event | dict.fromkeys(times, timestamp_text(moment(1000 + number)))
        for number, event in enumerate(events)
    }

    load(session, *later.values())

    assert stored_rows(warehouse, "shop", *without) == before
