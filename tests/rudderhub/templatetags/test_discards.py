from __future__ import annotations

import pytest

from rudderhub.templatetags.discards import plain_reason


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("incompatible schema conversion from float to string", "text in a number column"),
        ("incompatible schema conversion from int to float", "number in a whole-number column"),
        ("incompatible schema conversion from datetime to int", "whole number in a time column"),
        ("longer than 20 characters", "longer than 20 characters"),
    ],
)
def test_a_reason_of_the_tables_is_shown_in_plain_words(reason, shown):
    assert plain_reason(reason) == shown
