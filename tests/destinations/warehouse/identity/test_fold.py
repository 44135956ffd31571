from __future__ import annotations

from datetime import UTC, datetime, timedelta

from destinations.warehouse.identity.fold import Sighting, fold_statements
from destinations.warehouse.identity.statements import Identifier, Statement

START = datetime(2026, 3, 1, tzinfo=UTC)
U, A, B = Identifier("user_id", "u"), Identifier("anonymous_id", "a"), Identifier("email", "b")


def _at(second):
    return START + timedelta(seconds=second)


def _statement(*identifiers, second=0, message_id="", **fields):
    return Statement(
        identifiers=identifiers,
        primary=identifiers[0],
        traits=fields.pop("traits", {}),
        event_time=_at(fields.pop("event", second)),
        received_at=_at(second),
        message_id=message_id or f"m{second}",
        source_id=fields.pop("source_id", "web"),
        **fields,
    )


def test_equal_links_are_folded_to_the_earliest():
    folded = fold_statements(
        [_statement(U, A, second=5), _statement(A, U, second=3), _statement(U, A, second=4)]
    )

    assert folded.links == {(A, U): Sighting(_at(3), "m3", "web")}
    assert folded.sightings == {A: Sighting(_at(3), "m3", "web"), U: Sighting(_at(3), "m3", "web")}


def test_every_pair_is_a_link_and_one_alone_is_linked_with_itself():
    assert set(fold_statements([_statement(U, A, B)]).links) == {(A, B), (A, U), (B, U)}
    assert set(fold_statements([_statement(U)]).links) == {(U, U)}


def test_hidden_identifiers_are_left_out_before_pairs_are_formed():
    folded = fold_statements(
        [_statement(U, A, traits={"a": 1}), _statement(A, B, second=1)], hidden={U, B}
    )

    assert set(folded.links) == {(A, A)}
    assert set(folded.activity) == {A}
    assert folded.facts == {}


def test_of_one_messages_copies_the_first_received_counts_within_a_source():
    folded = fold_statements(
        [
            _statement(U, second=5, message_id="m", traits={"a": 5}, event=5),
            _statement(U, second=3, message_id="m", traits={"a": 3}, event=3),
            _statement(A, second=5, message_id="m", source_id="server"),
        ]
    )

    assert folded.activity == {U: (_at(3), _at(3)), A: (_at(5), _at(5))}
    assert folded.facts[U]["a"][0][0] == 3


def test_activity_spans_the_event_times_of_primary_identifiers():
    folded = fold_statements(
        [_statement(U, A, second=5, event=2), _statement(U, second=6, event=9)]
    )

    assert folded.activity == {U: (_at(2), _at(9))}


def test_a_groups_traits_are_the_accounts():
    folded = fold_statements(
        [
            _statement(U, second=1, group_id="acme", traits={"seats": 1}),
            _statement(A, second=2, group_id="acme", traits={"seats": 2}),
        ]
    )

    account = folded.accounts["acme"]
    assert account.members == {U: (_at(1), _at(1)), A: (_at(2), _at(2))}
    assert (account.seen, account.facts["seats"][0][0]) == ((_at(1), _at(2)), 2)
    assert folded.facts == {}


def test_hits_of_block_rules_are_summed():
    assert fold_statements(
        [_statement(U, blocked=(1, 1)), _statement(U, second=1, blocked=(2,))]
    ).hits == {
        1: 2,
        2: 1,
    }
