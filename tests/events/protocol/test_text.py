from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.protocol.text import (
    cleaned_text,
    dumps,
    format_time,
    is_missing,
    member_text,
    parse_time,
    time_text,
)

TIMES = {
    "2020-02-02T00:23:09.544Z": "2020-02-02T00:23:09.544Z",
    "2026-11-21T01:36:18.004817+00:00": "2026-11-21T01:36:18.004Z",
    "2026-11-21T01:36:18.004817123Z": "2026-11-21T01:36:18.004Z",
    "2026-11-21T01:36:18+05:30": "2026-11-20T20:06:18.000Z",
    "2020-02-02T10:11:12": "2020-02-02T10:11:12.000Z",
    "2020-02-02 10:11:12 +0530": "2020-02-02T04:41:12.000Z",
    "2020-02-02 10:00:00 +0000 UTC": "2020-02-02T10:00:00.000Z",
    "2020-02-02t10:11:12z": "2020-02-02T10:11:12.000Z",
    "20200202T101112Z": "2020-02-02T10:11:12.000Z",
    "2020-02-02": "2020-02-02T00:00:00.000Z",
    "2020-02": "2020-02-01T00:00:00.000Z",
    "2020-033": "2020-02-02T00:00:00.000Z",
    "2020-W05-1T10:00:00.12Z": "2020-01-27T10:00:00.120Z",
    "2020/02/02 10:00": "2020-02-02T10:00:00.000Z",
    "2020-02-02T24:00:00Z": "2020-02-03T00:00:00.000Z",
    "2016-12-31T23:59:60Z": "2017-01-01T00:00:00.000Z",
    "Sun, 02 Feb 2020 00:23:09 GMT": "2020-02-02T00:23:09.000Z",
    "02 Feb 2020 00:23 +0100": "2020-02-01T23:23:00.000Z",
    "0001-01-01T00:00:00.000Z": "0001-01-01T00:00:00.000Z",
    "9999-12-31T23:59:59.999Z": "9999-12-31T23:59:59.999Z",
}
NO_TIMES = [
    None,
    1580602989,
    True,
    "",
    "garbage",
    "2020-02-30",
    "2020-02-30T00:00:00.000Z",
    "0001-01-01T00:00:00+05:00",
    "Mon, 99 Feb 2020 00:00:00 GMT",
    "12345",
]


@pytest.mark.parametrize(("sent", "stored"), TIMES.items())
def test_a_time_is_stored_in_utc_with_milliseconds(sent, stored):
    assert time_text(sent) == stored


@pytest.mark.parametrize("sent", NO_TIMES)
def test_an_invalid_time_counts_as_absent(sent):
    assert time_text(sent) is None


@given(st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)))  # noqa: DTZ001
def test_a_stored_time_reads_as_itself(time):
    stored = format_time(time.replace(tzinfo=UTC))

    assert time_text(stored) == stored
    assert format_time(parse_time(stored)) == stored


@given(st.text())
def test_no_text_breaks_the_reading_of_times(text):
    assert time_text(text) is None or len(time_text(text)) == len("2020-02-02T00:23:09.544Z")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  ann ", "ann"),
        ("a\0b\tc", "abc"),
        ("\u200bann\ufeff", "ann"),
        ("\u00a0\u00ad\u034f\u115f\u2003\u202f\u2060\u2800\u3000\u3164\uffa0", ""),
        ("Zoë 你好", "Zoë 你好"),
    ],
)
def test_invisible_characters_are_cleaned_away(text, cleaned):
    assert cleaned_text(text) == cleaned


@pytest.mark.parametrize("value", [None, "", " ", "\u200b\0"])
def test_null_and_blank_texts_are_blank(value):
    assert is_missing(value)


@pytest.mark.parametrize("value", [0, 456, False, {}, {"id": 1}, [], "x"])
def test_any_other_value_counts(value):
    assert not is_missing(value)


@pytest.mark.parametrize(
    ("value", "text"), [("a b", "a b"), (None, ""), (0, "0"), ({"id": [1, "é"]}, '{"id":[1,"é"]}')]
)
def test_values_become_compact_json_text(value, text):
    assert member_text(value) == text


def test_integers_beyond_64_bits_are_written_in_full():
    assert dumps({"a": [10**30, True, None, 1.5, "é"]}) == f'{{"a":[{10**30},true,null,1.5,"é"]}}'
