from __future__ import annotations

import pytest

from destinations.warehouse.schema import fitted, plan, storable, wanted_columns
from destinations.warehouse.transform import Row

STAMP = "2026-03-01T12:00:00.000Z"


def row(table="a", **columns):
    """A row of {column: (type, value)}."""
    types = {name: kind for name, (kind, _) in columns.items()}
    return Row(table, types, {name: value for name, (_, value) in columns.items()})


def test_the_first_type_seen_makes_the_column():
    rows = [row(size=("boolean", True)), row(size=("string", "large"), color=("string", "red"))]

    assert wanted_columns(rows) == {"a": {"size": "boolean", "color": "string"}}


def test_whole_numbers_and_fractions_make_a_fraction_column():
    rows = [row(price=("int", 1)), row(price=("float", 1.5)), row(price=("int", 2))]

    assert wanted_columns(rows) == {"a": {"price": "float"}}


@pytest.mark.parametrize("column", ["id", "user_id", "anonymous_id", "previous_id", "group_id"])
def test_ids_are_text(column):
    assert wanted_columns([row(**{column: ("int", 7)})]) == {"a": {column: "string"}}


def test_a_missing_table_is_created_and_missing_columns_are_added():
    changes = plan(
        {"a": {"id": "string"}, "b": {"id": "string", "n": "int"}}, {"b": {"id": "string"}}
    )

    assert changes.create == {"a": {"id": "string"}}
    assert changes.add == {"b": {"n": "int"}}
    assert changes.widen == {}


def test_only_int_is_widened_and_only_to_float():
    known = {"a": {"n": "int", "f": "float", "s": "string"}}

    changes = plan({"a": {"n": "float", "f": "int", "s": "float"}}, known)

    assert changes.widen == {"a": ["n"]}
    assert not changes.add


def test_a_plan_for_what_is_there_is_empty():
    wanted = {"a": {"id": "string", "n": "float"}}

    assert not plan(wanted, wanted)


def test_arrays_are_stored_as_json_text():
    stored = storable(row(tags=("string", ["ü", 1, None])))

    assert stored.values == {"tags": '["ü",1,null]'}


def test_an_integer_past_bigint_needs_a_fraction_column():
    edge = storable(row(n=("int", 2**63 - 1)))
    past = storable(row(n=("int", 2**63)))

    assert edge.types == {"n": "int"}
    assert past.types == {"n": "float"}


def test_a_value_that_does_not_fit_is_a_discard():
    bad = row(id=("string", "m1"), size=("string", "large"), received_at=("datetime", STAMP))
    columns = {"id": "string", "size": "boolean", "received_at": "datetime"}

    values, discards = fitted(bad, columns)

    assert values == {"id": "m1", "received_at": STAMP}
    assert [discard.values for discard in discards] == [
        {
            "table_name": "a",
            "column_name": "size",
            "column_value": "large",
            "reason": "incompatible schema conversion from boolean to string",
            "row_id": "m1",
            "received_at": STAMP,
        }
    ]


def test_a_column_of_a_type_we_do_not_know_takes_nothing():
    columns = {"id": "string", "at": "time without time zone", "received_at": "datetime"}
    bad = row(id=("string", "m1"), at=("string", "12:00"), received_at=("datetime", STAMP))

    values, discards = fitted(bad, columns)

    assert "at" not in values
    assert [discard.values["column_value"] for discard in discards] == ["12:00"]
