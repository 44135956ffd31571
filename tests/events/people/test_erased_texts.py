from __future__ import annotations

import pytest

from destinations.warehouse.identity.erasure import DELETE, ErasedIdentifiers
from events.people.erased_texts import ErasedTexts
from tests.support.identity_graph import user


def texts(*values):
    return ErasedTexts(ErasedIdentifiers({user(value): DELETE for value in values}))


@pytest.mark.parametrize(
    ("values", "text", "redacted"),
    [
        (["ann"], "ann, annie, mary-ann, (ann)", "[erased], annie, mary-ann, ([erased])"),
        (["ann", "ann smith"], "ann smith and ann", "[erased] and [erased]"),
        (["a@x.example"], "b@x.example a@x.example.", "b@x.example [erased]."),
        (["+49 30"], "tel:+49 30, 49 30, tel:%2B49+30", "tel:[erased], 49 30, tel:[erased]"),
        (["…"], "a … b…", "a [erased] b…"),
        (["é"], "é \\u00e9 éé", "[erased] [erased] éé"),
        (["ann"], "nobody", "nobody"),
    ],
)
def test_a_value_is_replaced_where_it_is_a_whole_word(values, text, redacted):
    assert texts(*values).redacted(text) == redacted


def test_each_of_thousands_of_values_is_found():
    erased_texts = texts(*(f"p{number}@x.example" for number in range(3_000)))

    assert erased_texts.redacted("p7@x.example p2999@x.example p3000@x.example x.example") == (
        "[erased] [erased] p3000@x.example x.example"
    )
