from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from destinations.interface import DestinationError
from destinations.postgres.operations.reapply_discards import reapply_discards, widen_column
from tests.support.chunks import load
from tests.support.events import identify, moment, track
from tests.support.factories import make_destination
from tests.support.warehouse import address, rows


def test_after_widening_the_discards_of_a_column_are_in_their_rows(open_session, warehouse):
    session = open_session(widen_rows=0)
    load(session, track("m0", properties={"a": 1}))
    load(session, track("m1", properties={"a": 1.5}), track("m2", properties={"a": "x"}))
    load(session, track("m3", properties={"a": 10**30}))

    widen_column(warehouse, "shop", "rudder_identity", "clicked", "a")
    done = reapply_discards(warehouse, "shop", "clicked", "a")

    assert done == (2, 1)
    assert rows(warehouse, "SELECT id, a::text FROM shop.clicked ORDER BY id") == [
        ("m0", "1"),
        ("m1", "1.5"),
        ("m2", None),
        ("m3", str(10**30)),
    ]
    assert rows(warehouse, "SELECT row_id FROM shop.rudder_discards") == [("m2",)]


def test_discards_of_a_row_that_was_replaced_are_not_applied(open_session, warehouse):
    session = open_session(widen_rows=0)
    load(session, track("m0", properties={"a": 1}))
    load(session, track("m1", moment(1), properties={"a": 1.5}))
    load(session, track("m1", moment(2)))

    widen_column(warehouse, "shop", "rudder_identity", "clicked", "a")

    assert reapply_discards(warehouse, "shop", "clicked", "a") == (0, 0)
    assert rows(warehouse, "SELECT a FROM shop.clicked WHERE id = 'm1'") == [(None,)]


@pytest.mark.parametrize("table", ["identifies", "users"])
def test_users_get_the_values_of_their_identifies(open_session, warehouse, table):
    session = open_session(widen_rows=0)
    load(session, identify("m0", "u0", moment(0), age=1))
    load(session, identify("m1", "u1", moment(1), age=1.5))
    load(session, identify("m2", "u1", moment(2), city="Rome"))

    widen_column(warehouse, "shop", "rudder_identity", table, "age")
    reapply_discards(warehouse, "shop", table, "age")

    assert rows(warehouse, "SELECT id, age::text, city FROM shop.users ORDER BY id") == [
        ("u0", "1", None),
        ("u1", "1.5", "Rome"),
    ]
    assert rows(warehouse, "SELECT count(*) FROM shop.rudder_discards") == [(0,)]


@pytest.mark.parametrize(
    ("first", "misfit", "retype", "stored"),
    [
        (True, "large", "text", "large"),
        (1, ["a", 1], "text", '["a",1]'),
        (1, True, "boolean USING a <> 0", "true"),
        (1, "2026-03-01", "timestamptz USING NULL", "2026-03-01 00:00:00+00"),
        (1, "7", "text", "7"),
        (True, 10**30, "text USING NULL", str(10**30)),
        (True, 10**30 + 1, "numeric USING NULL", str(10**30 + 1)),
        (True, 1.25, "numeric USING NULL", "1.25"),
        (True, "x", "jsonb USING NULL", '"x"'),
    ],
)
def test_a_column_that_was_retyped_takes_its_discards(
    open_session, warehouse, first, misfit, retype, stored
):
    session = open_session(widen_rows=0)
    load(session, track("m0", properties={"a": first}), track("m1", properties={"a": misfit}))
    warehouse.execute("SET TimeZone = 'UTC'")
    warehouse.execute(f"ALTER TABLE shop.clicked ALTER COLUMN a TYPE {retype}")

    assert reapply_discards(warehouse, "shop", "clicked", "a") == (1, 0)
    assert rows(warehouse, "SELECT a::text FROM shop.clicked WHERE id = 'm1'") == [(stored,)]


def test_only_whole_number_columns_are_widened(open_session, warehouse):
    load(open_session(), track("m0", properties={"a": "x"}))

    with pytest.raises(DestinationError, match="no whole-number column a"):
        widen_column(warehouse, "shop", "rudder_identity", "clicked", "a")


@pytest.mark.django_db
def test_the_command_lists_widens_and_applies(open_session, warehouse, warehouse_url):
    config, secrets = address(warehouse_url)
    make_destination(config, secrets, name="Mine")
    session = open_session(widen_rows=0)
    load(session, track("m0", properties={"a": 1}))
    load(session, track("m1", properties={"a": 1.5}))

    assert (
        command_output("Mine", "shop")
        == "clicked a: 1: incompatible schema conversion from int to float\n"
    )
    assert command_output("Mine", "shop", "clicked", "a") == "0 applied, 1 left\n"
    assert command_output("Mine", "shop", "clicked", "a", "--widen") == "1 applied, 0 left\n"
    with pytest.raises(CommandError, match="0 destinations are called 'Other'"):
        command_output("Other", "shop")


def command_output(*arguments):
    out = StringIO()
    call_command("reapply_discards", *arguments, stdout=out)
    return out.getvalue()
