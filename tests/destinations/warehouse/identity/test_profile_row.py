from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from destinations.warehouse.identity.profile_row import MAX_LISTED, Member, profile_row
from destinations.warehouse.identity.statements import Identifier
from destinations.warehouse.identity.trait_facts import stated_facts

START = datetime(2026, 3, 1, tzinfo=UTC)


def _at(second):
    return START + timedelta(seconds=second)


def _member(number, kind="user_id", value=None, seen=None, traits=None):
    activity = (_at(seen), _at(seen)) if seen is not None else None
    facts = stated_facts(traits, _at(number), _at(number), "m") if traits else None
    value = value or f"{kind}-{number}"
    return Member(Identifier(kind, value), _at(number), UUID(int=number), activity, facts)


def test_the_oldest_member_gives_the_id_and_the_smallest_key_at_one_time():
    late, tied = _member(5), Member(Identifier("email", "e"), _at(3), UUID(int=9))
    first = Member(Identifier("email", "f"), _at(3), UUID(int=4))

    assert profile_row([late, tied, first], null_clears=False).rudder_id == UUID(int=4)


@pytest.mark.parametrize(
    ("members", "user_id"),
    [
        ([_member(1, "anonymous_id")], None),
        ([_member(1, seen=9), _member(2, seen=5)], "user_id-1"),
        ([_member(1, seen=2), _member(9)], "user_id-1"),
        ([_member(1), _member(9)], "user_id-9"),
        ([_member(1, value="é", seen=5), _member(2, value="z", seen=5)], "é"),
        ([_member(1, value="Z", seen=5), _member(2, value="a", seen=5)], "a"),
    ],
)
def test_the_user_id_comes_from_the_latest_event_else_from_the_latest_statement(members, user_id):
    assert profile_row(members, null_clears=False).user_id == user_id


def test_times_are_those_of_events_and_without_any_the_anchors():
    seen = profile_row([_member(1), _member(2, seen=7), _member(3, seen=4)], null_clears=False)
    unseen = profile_row([_member(5), _member(2)], null_clears=False)

    assert (seen.first_seen_at, seen.last_seen_at) == (_at(4), _at(7))
    assert (unseen.first_seen_at, unseen.last_seen_at) == (_at(2), _at(2))


@pytest.mark.parametrize(
    ("traits", "name"),
    [
        ({"name": "Ann", "firstName": "Bo"}, "Ann"),
        ({"firstName": "Bo", "lastName": "Lee"}, "Bo Lee"),
        ({"firstname": "Bo"}, "Bo"),
        ({"lastname": "Lee", "name": " "}, "Lee"),
        ({"name": {"first": "Ann"}}, None),
        ({"plan": "pro"}, None),
    ],
)
def test_the_name_is_a_trait_or_made_of_two(traits, name):
    assert profile_row([_member(1, traits=traits)], null_clears=False).name == name


def test_the_email_is_the_trait_else_the_oldest_identifier():
    mails = [_member(4, "email", "new@x"), _member(2, "email", "old@x")]

    assert profile_row(mails, null_clears=False).email == "old@x"
    assert profile_row([*mails, _member(3, traits={"email": "t@x"})], False).email == "t@x"


def test_the_oldest_values_of_each_type_are_listed_and_all_are_counted():
    row = profile_row([_member(n, "crm") for n in range(MAX_LISTED + 5, 0, -1)], null_clears=False)

    assert row.identifiers == {"crm": [f"crm-{n}" for n in range(1, MAX_LISTED + 1)]}
    assert row.identifier_count == MAX_LISTED + 5
