from __future__ import annotations

import pytest

from destinations.warehouse.rows.discarded_values import stored_text

OUT_OF_BOOLEAN = "incompatible schema conversion from boolean to int"


@pytest.mark.parametrize("column_type", ["float", "string"])
@pytest.mark.parametrize("reason", [OUT_OF_BOOLEAN, "number out of range"])
@pytest.mark.parametrize("number", ["7", str(10**30 + 1), "-" + "9" * 5_000])
def test_a_whole_number_of_any_length_returns_to_text_and_numeric(number, reason, column_type):
    assert stored_text(number, reason, column_type) == number


def test_a_whole_number_returns_to_a_whole_column_only_where_it_fits():
    assert stored_text("7", OUT_OF_BOOLEAN, "int") == "7"
    assert stored_text(str(10**30), OUT_OF_BOOLEAN, "int") is None
