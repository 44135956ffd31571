from __future__ import annotations

import pytest

from destinations.warehouse.rows.datatypes import Discard
from destinations.warehouse.rows.narrow_types import convert_narrow, is_narrow, is_whole, wide_type


@pytest.mark.parametrize(
    ("column_type", "event_type", "value"),
    [
        ("smallint", "int", 32767),
        ("integer", "int", -(2**31)),
        ("character varying(5)", "string", "large"),
        ("character(5)", "string", "xxl"),
        ("character varying(5)", "int", 12345),
        ("numeric(5,2)", "float", 123.45),
        ("numeric(5,2)", "int", 999),
        ("numeric(3,0)", "int", 999),
    ],
)
def test_what_fits_is_stored(column_type, event_type, value):
    assert str(convert_narrow(value, column_type, event_type)) == str(value)


@pytest.mark.parametrize(
    ("column_type", "event_type", "value", "reason"),
    [
        ("smallint", "int", 32768, "number out of range"),
        ("integer", "int", 2**31, "number out of range"),
        ("integer", "float", 1.5, "incompatible schema conversion from int to float"),
        ("character varying(5)", "string", "larger", "longer than 5 characters"),
        ("numeric(5,2)", "float", 1.234, "does not fit numeric(5,2)"),
        ("numeric(5,2)", "int", 1000, "does not fit numeric(5,2)"),
        ("numeric(5,2)", "string", "7", "incompatible schema conversion from float to string"),
    ],
)
def test_what_does_not_fit_is_a_discard(column_type, event_type, value, reason):
    assert convert_narrow(value, column_type, event_type) == Discard(str(value), reason)


def test_our_own_types_are_not_narrow():
    assert not any(map(is_narrow, ["int", "float", "string", "boolean", "json", "point"]))


def test_whole_number_types_and_what_holds_them():
    assert [is_whole(kind) for kind in ("int", "integer", "float")] == [True, True, False]
    assert [wide_type(kind) for kind in ("smallint", "numeric(5,2)", "character(3)", "date")] == [
        "int",
        "float",
        "string",
        "date",
    ]
