from __future__ import annotations

import pytest

from rudderhub.admin.base.record_pages import parse_pk


@pytest.mark.parametrize(
    ("text", "key"), [("7", 7), ("", None), ("-7", None), ("x", None), ("9" * 18, 10**18 - 1)]
)
def test_the_key_of_a_record_is_a_number(text, key):
    assert parse_pk(text) == key


@pytest.mark.parametrize("digits", [19, 5_000])
def test_a_number_beyond_a_bigint_is_no_key(digits):
    assert parse_pk("9" * digits) is None
