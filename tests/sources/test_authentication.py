from __future__ import annotations

import pytest

from sources.authentication import basic_credentials, query_key
from tests.support.http import basic_token


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        (f"Basic {basic_token('key')}", ("key", "")),
        (f"bAsIc   {basic_token('key', 'secret:x')}", ("key", "secret:x")),
        ("", None),
        ("Bearer key", None),
        ("key", None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Basic a2V5", None),
        (f"Basic {basic_token('')}", None),
        ("Basic é", None),
    ],
)
def test_basic_auth_is_read_or_missing(header, credentials):
    assert basic_credentials(header) == credentials


@pytest.mark.parametrize(
    ("query", "key"),
    [("", ""), ("writeKey=", ""), ("a=b&writeKey=k%2Bx&writeKey=y", "k+x"), ("WriteKey=k", "")],
)
def test_the_first_write_key_of_the_query_counts(query, key):
    assert query_key({"QUERY_STRING": query}) == key
