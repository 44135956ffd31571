"""users after any loads equals a recomputation from identifies."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from destinations.interface import DestinationUnavailableError
from tests.support.chunks import load
from tests.support.events import identify, moment
from tests.support.warehouse import rows

TRAITS = ("plan", "city", "age")

FIRST = identify("first", "nobody", moment(0), **dict.fromkeys(TRAITS, 1)) | {"anonymousId": "a"}

STORED = """
SELECT id, plan, city, age, anonymous_id, received_at
FROM shop.users
ORDER BY id
"""
RECOMPUTED = """
SELECT user_id,
    (array_agg(plan ORDER BY received_at DESC) FILTER (WHERE plan IS NOT NULL))[1],
    (array_agg(city ORDER BY received_at DESC) FILTER (WHERE city IS NOT NULL))[1],
    (array_agg(age ORDER BY received_at DESC) FILTER (WHERE age IS NOT NULL))[1],
    (array_agg(anonymous_id ORDER BY received_at DESC)
        FILTER (WHERE anonymous_id IS NOT NULL))[1],
    max(received_at)
FROM shop.identifies
WHERE user_id IS NOT NULL
GROUP BY user_id
ORDER BY user_id
"""


def random_identify(chance, number, *, users=4, ids=40):
    """An identify with some of the traits; of few ids, so that some come again changed."""
    traits = {name: chance.randint(1, 99) for name in TRAITS if chance.random() < 0.5}
    event = identify(
        f"m{chance.randrange(ids)}", f"u{chance.randrange(users)}", moment(number), **traits
    )
    return event | {"anonymousId": f"a{number}"} if chance.random() < 0.5 else event


def some_identifies(chance, count=60):
    """At different times, in no order, some of them twice."""
    events = [random_identify(chance, number) for number in range(count)]
    events += chance.sample(events, count // 4)
    chance.shuffle(events)
    return events


def random_parts(chance, events):
    while events:
        size = chance.randint(1, 12)
        yield events[:size]
        events = events[size:]


@pytest.mark.parametrize("seed", range(12))
def test_users_equal_their_recomputation_after_any_loads(open_session, warehouse, seed):
    chance = random.Random(seed)
    session = open_session(resolve_identities=False)
    load(session, FIRST)

    for part in random_parts(chance, some_identifies(chance)):
        load(session, *part)

    assert rows(warehouse, STORED) == rows(warehouse, RECOMPUTED)


@pytest.mark.parametrize("seed", range(4))
def test_users_equal_their_recomputation_after_loads_side_by_side(open_session, warehouse, seed):
    chance = random.Random(seed)
    load(open_session(99), FIRST)
    parts = list(random_parts(chance, some_identifies(chance, 120)))

    with ThreadPoolExecutor(3) as together:
        loads = [
            together.submit(load_all, open_session(number), parts[number::3]) for number in range(3)
        ]
    for done in loads:
        done.result()

    assert rows(warehouse, STORED) == rows(warehouse, RECOMPUTED)


def load_all(session, parts):
    for part in parts:
        load_patiently(session, part)


def load_patiently(session, part):
    """As the loads do: what is unavailable for a moment is tried again."""
    for _ in range(5):
        try:
            return load(session, *part)
        except DestinationUnavailableError:
            continue
    return load(session, *part)


def test_an_older_value_fills_a_gap_but_only_the_newest_of_the_older(open_session, warehouse):
    session = open_session()
    load(session, identify("m5", received_at=moment(5), plan="pro"))
    load(session, identify("m2", received_at=moment(2), city="Rome", plan="free"))

    load(session, identify("m1", received_at=moment(1), city="Oslo"))
    load(session, identify("m3", received_at=moment(3), city="Bonn"))

    assert rows(warehouse, "SELECT plan, city FROM shop.users") == [("pro", "Bonn")]


def test_an_identify_that_is_replaced_leaves_nothing_behind(open_session, warehouse):
    session = open_session()
    load(session, identify("m1", "u1", moment(1), plan="free", city="Rome"))
    load(session, identify("m2", "u1", moment(2), plan="pro"))

    load(session, identify("m1", "u2", moment(3), plan="basic"))

    assert rows(warehouse, "SELECT id, plan, city FROM shop.users ORDER BY id") == [
        ("u1", "pro", None),
        ("u2", "basic", None),
    ]


def test_a_user_is_deleted_when_the_only_identify_moves_to_another_user(open_session, warehouse):
    session = open_session()
    load(session, identify("m1", "u1", moment(1)))

    load(session, identify("m1", "u2", moment(2)))

    assert rows(warehouse, "SELECT id FROM shop.users") == [("u2",)]


def test_of_one_time_the_identify_loaded_last_wins(open_session, warehouse):
    session = open_session()
    load(session, identify("m9", plan="free"), identify("m5", plan="pro"))

    load(session, identify("m1", plan="max"), identify("m0", plan="team"))

    assert rows(warehouse, "SELECT plan FROM shop.users") == [("team",)]


def test_an_identify_of_nobody_is_a_row_and_no_user(open_session, warehouse):
    load(open_session(), identify("m1", None, plan="pro"))

    assert rows(warehouse, "SELECT id, user_id, plan FROM shop.identifies") == [("m1", None, "pro")]
    assert rows(warehouse, "SELECT to_regclass('shop.users')") == [(None,)]


def test_a_recreated_users_table_contains_the_traits_of_earlier_identifies(open_session, warehouse):
    session = open_session()
    load(session, identify("m1", received_at=moment(1), city="Rome"))
    warehouse.execute("DROP TABLE shop.users CASCADE")

    load(session, identify("m2", received_at=moment(2), plan="pro"))

    assert rows(warehouse, "SELECT plan, city FROM shop.users") == [("pro", "Rome")]


def test_values_of_identifies_that_were_deleted_by_hand_stay(open_session, warehouse):
    session = open_session()
    load(session, identify("m1", received_at=moment(1), city="Rome"))
    load(session, identify("m5", received_at=moment(5), plan="pro"))
    warehouse.execute("DELETE FROM shop.identifies")

    load(session, identify("m3", received_at=moment(3), plan="free", age=30))

    assert rows(warehouse, "SELECT plan, city, age FROM shop.users") == [("pro", "Rome", 30)]


def test_a_value_that_does_not_fit_is_a_discard_of_both_tables(open_session, warehouse):
    session = open_session()
    load(session, identify("m1", received_at=moment(1), plan=True))

    load(session, identify("m2", received_at=moment(2), plan="pro"))

    assert rows(warehouse, "SELECT plan FROM shop.users") == [(True,)]
    assert rows(
        warehouse,
        "SELECT table_name, row_id, column_value FROM shop.rudder_discards ORDER BY 1",
    ) == [("identifies", "m2", "pro"), ("users", "u1", "pro")]


def test_values_over_the_budget_are_the_latest_of_each_key(open_session, warehouse):
    session = open_session(column_budget=1)
    load(session, identify("m5", received_at=moment(5), plan="pro"))
    load(session, identify("m6", received_at=moment(6), city="Rome"))

    load(session, identify("m4", received_at=moment(4), city="Oslo", age=30))

    (extra,) = rows(warehouse, "SELECT rudder_extra FROM shop.users")[0]
    assert {name: extra[name] for name in ("plan", "city", "age")} == {
        "plan": "pro",
        "city": "Rome",
        "age": 30,
    }
