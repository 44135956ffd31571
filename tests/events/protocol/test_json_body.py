from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.protocol.json_body import InvalidJSONError, loads

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b' {"a":1} \n', {"a": 1}),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"12345678901234567890123", 12345678901234567890123),
        (b"-9223372036854775809", -9223372036854775809),
        (b"[18446744073709551615]", [18446744073709551615]),
        (b"1e-400", 0.0),
        (b'{"p":"\xff"}', {"p": "\ufffd"}),
        (b'"\\ud800 \\ud83d\\ude00"', "\ufffd \U0001f600"),
        (b'{"a\\u0000b":"c\\u0000d"}', {"ab": "cd"}),
        (b'"\\\\u0000"', "\\u0000"),
        (b'"[[[' + b"[" * 300 + b'"', "[" * 303),
        (b"[" * 200 + b"]" * 200, json.loads("[" * 200 + "]" * 200)),
    ],
)
def test_json_is_read(body, value):
    assert loads(body) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"{} {}",
        b"{}x",
        b"[1,]",
        b"NaN",
        b"[-Infinity]",
        b"1e400",
        b"9" * 400,
        b"9" * 5000,
        b'\xef\xbb\xbf{"a":1}',
        b'"a\nb"',
        b"'a'",
        b"[" * 201 + b"]" * 201,
        b'{"a":' * 201 + b"1" + b"}" * 201,
        b"[" * 1_000_000,
        b"[" * 1_000_000 + b"]" * 1_000_000,
    ],
    ids=lambda body: f"{len(body)} {body[:12]!r} {body[-3:]!r}",
)
def test_invalid_json_is_refused(body):
    with pytest.raises(InvalidJSONError, match=r"^invalid json"):
        loads(body)


@given(json_values)
def test_whatever_json_writes_is_read_the_same(value):
    assert loads(json.dumps(value).encode()) == value


@given(st.binary())
def test_bytes_are_json_or_refused(body):
    try:
        value = loads(body)
    except InvalidJSONError:
        return
    assert json.loads(json.dumps(value)) == value


@given(st.integers(150, 250), st.sampled_from([("[", "]", "1"), ('{"[":', "}", '"{\\""')]))
def test_more_than_200_open_brackets_are_too_deep(depth, form):
    opening, closing, inside = form
    body = (opening * depth + inside + closing * depth).encode()

    if depth <= 200:
        assert loads(body)
    else:
        with pytest.raises(InvalidJSONError, match="nested deeper than 200"):
            loads(body)
