from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.warehouse.json_text import TransformError, go_text, json_text
from destinations.warehouse.rows.datatypes import Discard, convert, timestamp, typed_value
from tests.destinations.warehouse.strategies import json_values, nested

TYPES = ["boolean", "int", "float", "string", "datetime", "json"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, ("boolean", True)),
        (7, ("int", 7)),
        (1.0, ("int", 1)),
        (-0.0, ("int", 0)),
        (12345678901234567.5, ("int", 12345678901234568)),
        (1e300, ("int", int(1e300))),
        (1.5, ("float", 1.5)),
        ("123", ("string", "123")),
        ("true", ("string", "true")),
        (["2024-01-01"], ("string", ["2024-01-01"])),
        ("2024-01-15", ("datetime", "2024-01-15T00:00:00.000Z")),
    ],
)
def test_a_value_has_one_type(value, expected):
    assert typed_value(value) == expected
    assert type(typed_value(value)[1]) is type(expected[1])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-15 ", "2024-01-15T00:00:00.000Z"),
        ("2024-01-15T", "2024-01-15T00:00:00.000Z"),
        ("2024-01-15T10:20", "2024-01-15T10:20:00.000Z"),
        ("2024-01-15 10:20Z", "2024-01-15T10:20:00.000Z"),
        ("2024-01-15T10:20+05:30", "2024-01-15T04:50:00.000Z"),
        ("2024-01-15 10:20:30-0800", "2024-01-15T18:20:30.000Z"),
        ("2024-01-15T10:20:30+05", "2024-01-15T05:20:30.000Z"),
        ("2024-01-15 10:20:30.5+02", "2024-01-15T08:20:30.500Z"),
        ("2024-01-15T10:20:30.1Z", "2024-01-15T10:20:30.100Z"),
        ("2024-01-15T10:20:30.123456789Z", "2024-01-15T10:20:30.123Z"),
        ("2024-01-15T10:20:30.999999999Z", "2024-01-15T10:20:30.999Z"),
        ("2024-01-15T00:00:00+23:59", "2024-01-14T00:01:00.000Z"),
        ("2023-02-29", "2023-03-01T00:00:00.000Z"),
        ("2024-02-31", "2024-03-02T00:00:00.000Z"),
        ("2024-02-30T10:00:00Z", "2024-03-01T10:00:00.000Z"),
        ("2024-02-30T10:00:00.000Z", "2024-03-01T10:00:00.000Z"),
        ("2024-04-31", "2024-05-01T00:00:00.000Z"),
        ("0001-01-01", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_timestamp_becomes_utc_with_milliseconds(text, moment):
    assert timestamp(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2024",
        "2024-01",
        "2024-1-5",
        "20240115",
        "2024/01/15",
        "01/15/2024",
        "2024-01-15T10",
        "2024-01-15T9:20:30Z",
        "2024-01-15T102030Z",
        "2024-01-15t10:20:30Z",
        "2024-01-15T10:20:30z",
        "2024-01-15T10:20:30,5Z",
        "2024-01-15T10:20:30.Z",
        "2024-01-15T10:20:30 Z",
        "2024-01-15T24:00:00Z",
        "2024-01-15T10:60:00Z",
        "2024-01-15T10:20:60Z",
        "2024-01-15T10:20:30+24:00",
        "2024-01-15T10:20:30+05:",
        "2024-01-15Z",
        "2024-01-15+05:30",
        " 2024-01-15",
        "2024-01-15  ",
        "2024-01-15\n",
        "2024-01-15T10:20:30Z\n",
        "2024-01-15T10:20:30.000Z\n",
        "2024-01-15\t10:20:30",
        "1705314030",
        "2024-W03-1",
        "2024-015",
        "2024-13-01",
        "2024-00-01",
        "2024-01-32",
        "2024-01-00",
        "0000-01-01",
        "0000-01-01T00:00:00.000Z",
        "10000-01-01",
        "+2024-01-15",
        "+002024-01-15",
        "٢٠٢٤-01-15",
        "9999-12-31T23:59:59-08:00",
        "0001-01-01T00:00:00+01:00",
        "2024-01-15T10:20:30.000000000000000000000Z",
    ],
)
def test_any_other_text_is_no_timestamp(text):
    assert timestamp(text) is None


@pytest.mark.parametrize(
    ("value", "column_type", "stored"),
    [
        (2**63 - 1, "int", 2**63 - 1),
        (2**63, "float", 2**63),
        (1e-7, "string", "0.0000001"),
        (1234567.5, "string", "1234567.5"),
        (1e300, "string", "1" + f"{int(1e300)}"[1:]),
        (True, "string", "true"),
        ("a\0b", "string", "ab"),
        ("\ud83dx", "string", "\ufffdx"),
        (" ", "string", " "),
        (["a\0", 1.0, "é"], "string", '["a",1,"é"]'),
        (["\ud83d"], "string", '["\ufffd"]'),
        ([2**70, math.inf], "string", f"[{2**70},null]"),
        ("x", "json", '"x"'),
        ("a\0b", "json", '"ab"'),
        ([1], "json", "[1]"),
        (1.5, "json", "1.5"),
        ("2024-01-15", "json", '"2024-01-15T00:00:00.000Z"'),
        (None, "int", None),
    ],
)
def test_a_value_that_fits_is_stored(value, column_type, stored):
    event_type, inferred = typed_value(value)

    assert convert(inferred, column_type, event_type) == stored


@pytest.mark.parametrize(
    ("value", "column_type", "discard"),
    [
        (1.9, "int", ("1.9", "incompatible schema conversion from int to float")),
        ("7", "int", ("7", "incompatible schema conversion from int to string")),
        (2**63, "int", ("9223372036854775808", "number out of range")),
        (-(2**63) - 1, "int", ("-9223372036854775809", "number out of range")),
        (math.inf, "float", ("Infinity", "number out of range")),
        (math.nan, "string", ("NaN", "number out of range")),
        (
            [1, "a\0", True, None, {"k": 1e-7}],
            "float",
            (
                "[1 a true <nil> map[k:0.0000001]]",
                "incompatible schema conversion from float to string",
            ),
        ),
        (True, "unknown", ("true", "incompatible schema conversion from unknown to boolean")),
    ],
)
def test_a_value_that_does_not_fit_is_discarded_with_the_reason(value, column_type, discard):
    event_type, inferred = typed_value(value)

    assert convert(inferred, column_type, event_type) == Discard(*discard)


@pytest.mark.parametrize("column_type", ["int", "string", "json", "boolean"])
def test_an_integer_past_all_printing_is_discarded(column_type):
    discard = convert(10**5000, column_type, "int")

    assert discard.value == hex(10**5000)


def test_json_text_keeps_the_order_of_keys():
    assert json_text({"z": 1.0, "a": [None, "é<&>"]}) == '{"z":1,"a":[null,"é<&>"]}'


def test_too_deep_a_value_is_refused_as_json_and_cut_short_in_discards():
    deep = nested(300)

    with pytest.raises(TransformError, match="nested deeper than 250"):
        json_text(deep)
    assert go_text(deep) == "[" * 250 + "..." + "]" * 250


@given(json_values, st.sampled_from([*TYPES, "text", "unknown"]))
def test_converting_what_was_inferred_never_raises_and_postgres_takes_it(value, column_type):
    event_type, inferred = typed_value(value)

    stored = convert(inferred, column_type, event_type)

    assert "\0" not in str(stored)
    repr(stored).encode()


@given(json_values)
def test_json_text_can_be_read_back(value):
    try:
        text = json_text(value)
    except TransformError:
        return

    read = json.loads(text)  # as text, numbers may be spelt 1e-8 or 1e-08
    assert json.loads(json_text(read)) == read


@given(
    st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001
    st.integers(-1439, 1439),
    st.sampled_from("T "),
)
def test_a_moment_is_the_same_in_every_zone(moment, offset, separator):
    local = moment.replace(tzinfo=UTC).astimezone(timezone(timedelta(minutes=offset)))

    expected = moment.isoformat(timespec="milliseconds") + "Z"
    assert timestamp(local.isoformat(separator)) == expected
