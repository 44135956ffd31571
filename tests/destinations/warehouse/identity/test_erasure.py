from __future__ import annotations

from destinations.warehouse.identity.erasure import DELETE, ErasedIdentifiers, remaining_event
from destinations.warehouse.identity.statements import Identifier

BOB, EMAIL = Identifier("user_id", "bob"), Identifier("email", "ann@x.example")
ERASED = ErasedIdentifiers({EMAIL: DELETE})


def test_a_merge_call_of_somebody_else_keeps_its_other_properties():
    erased = {"type": "email", "value": "ann@x.example"}
    other = {"type": "phone", "value": "555-0100"}
    event = {"type": "merge", "userId": "bob", "mergeProperties": [erased, other]}

    assert remaining_event(event, BOB, ERASED) == {**event, "mergeProperties": [other]}


def test_a_text_that_quotes_an_erased_value_stays_and_json_that_holds_it_goes():
    row = {
        "id": "m1",
        "email": "ann@x.example",
        "note": 'She signs as "ann@x.example" now.',
        "form": '{"reply_to":"ann@x.example"}',
        "list": '["ann@x.example"]',
    }

    ERASED.clear_row(row)

    assert row == {
        "id": "m1",
        "email": None,
        "note": 'She signs as "ann@x.example" now.',
        "form": None,
        "list": None,
    }
