from __future__ import annotations

import json

import pytest

from destinations.warehouse.rows.schema import (
    RowFitter,
    merged_extra,
    storable_row,
    table_plan,
    wanted_columns,
)
from destinations.warehouse.rows.transform import Row

STAMP = "2026-03-01T12:00:00.000Z"
BUDGET = 500


def row(table="a", **columns):
    """A row of {column: (type, value)}."""
    types = {name: kind for name, (kind, _) in columns.items()}
    return Row(table, types, {name: value for name, (_, value) in columns.items()})


def test_the_first_value_sets_the_type_of_the_column():
    shapes = [{"size": "boolean"}, {"size": "string", "color": "string"}]

    assert wanted_columns(shapes) == {"size": "boolean", "color": "string"}


def test_whole_numbers_and_fractions_together_give_a_fraction_column():
    shapes = [{"price": "int"}, {"price": "float"}, {"price": "int"}]

    assert wanted_columns(shapes) == {"price": "float"}


@pytest.mark.parametrize("column", ["id", "user_id", "anonymous_id", "previous_id", "group_id"])
def test_ids_are_text(column):
    assert wanted_columns([{column: "int"}]) == {column: "string"}


def test_a_missing_table_is_created():
    changes = table_plan({"id": "string"}, None, BUDGET)

    assert changes.create
    assert changes.add == {"id": "string"}


def test_missing_columns_are_added():
    changes = table_plan({"id": "string", "n": "int"}, {"id": "string"}, BUDGET)

    assert not changes.create
    assert changes.add == {"n": "int"}
    assert changes.widen == []


@pytest.mark.parametrize("kind", ["int", "integer", "smallint"])
def test_only_whole_numbers_are_widened_and_only_to_float(kind):
    known = {"n": kind, "f": "float", "s": "string"}

    changes = table_plan({"n": "float", "f": "int", "s": "float"}, known, BUDGET)

    assert changes.widen == ["n"]
    assert not changes.add


def test_a_plan_for_an_existing_table_is_empty():
    wanted = {"id": "string", "n": "float"}

    assert not table_plan(wanted, wanted, BUDGET)


def test_a_table_grows_to_its_budget_and_gets_one_column_for_the_rest():
    wanted = {"id": "string", "received_at": "datetime"} | {f"p{n:05}": "int" for n in range(9999)}

    changes = table_plan(wanted, None, 100)
    known = changes.add
    later = table_plan({f"q{n}": "int" for n in range(9999)}, known, 100)

    assert {"id", "received_at", "p00000", "rudder_extra"} < known.keys()
    assert len(known) <= 100
    assert not later


def test_a_full_table_still_gets_the_columns_that_every_event_has():
    known = {f"p{n}": "int" for n in range(200)}

    changes = table_plan({"id": "string", "received_at": "datetime", "more": "int"}, known, 100)

    assert changes.add == {"id": "string", "received_at": "datetime", "rudder_extra": "json"}


def test_arrays_are_stored_as_json_text():
    stored = storable_row(row(tags=("string", ["ü", 1, None])))

    assert stored.values == {"tags": '["ü",1,null]'}


def test_an_integer_past_bigint_needs_a_fraction_column():
    edge = storable_row(row(n=("int", 2**63 - 1)))
    past = storable_row(row(n=("int", 2**63)))

    assert edge.types == {"n": "int"}
    assert past.types == {"n": "float"}


def test_a_value_that_does_not_fit_is_a_discard():
    bad = row(id=("string", "m1"), size=("string", "large"), received_at=("datetime", STAMP))
    columns = {"id": "string", "size": "boolean", "received_at": "datetime"}

    values, discards = RowFitter(columns).fit(bad)

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

    values, discards = RowFitter(columns).fit(bad)

    assert "at" not in values
    assert [discard.values["column_value"] for discard in discards] == ["12:00"]


def test_what_has_no_column_goes_to_the_extra_one_as_it_was_sent():
    columns = {"id": "string", "rudder_extra": "json"}
    sent = storable_row(
        row(
            id=("string", "m1"),
            tags=("string", ["a", 1]),
            text=("string", "[1]"),
            deep=("json", '{"a":1}'),
            whole=("int", 7),
        )
    )

    values, discards = RowFitter(columns).fit(sent)

    assert not discards
    assert values.keys() == {"id", "rudder_extra"}
    assert json.loads(values["rudder_extra"]) == {
        "tags": ["a", 1],
        "text": "[1]",
        "deep": {"a": 1},
        "whole": 7,
    }


def test_extra_values_merge_by_key():
    assert merged_extra('{"a":1,"b":1}', '{"b":2}') == '{"a":1,"b":2}'
    assert merged_extra(None, '{"b":2}') == '{"b":2}'
    assert merged_extra('{"a":1}', None) == '{"a":1}'
