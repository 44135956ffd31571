from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.warehouse.identity.block_list import BlockList, BlockRule
from destinations.warehouse.identity.statements import (
    Identifier,
    MalformedMergeError,
    Rules,
    event_time,
    node_key,
    statement,
    visible_text,
)

RECEIVED = "2026-03-01T10:00:09.000Z"
U, A = Identifier("user_id", "u"), Identifier("anonymous_id", "a")
MAIL = {"type": "email", "value": "e@x"}


def _event(kind, **fields):
    return {"type": kind, "messageId": "m1", "receivedAt": RECEIVED, **fields}


def _at(text):
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("kind", ["identify", "track", "page", "screen", "group", "TRACK"])
def test_both_ids_of_a_call_are_identifiers_and_the_user_id_is_primary(kind):
    stated = statement(_event(kind, userId="u", anonymousId="a"), "web")

    assert (stated.identifiers, stated.primary) == ((U, A), U)
    assert (stated.message_id, stated.source_id) == ("m1", "web")


def test_an_alias_states_two_users_and_no_device():
    stated = statement(_event("alias", userId="u", previousId=7, anonymousId="a"), "web")

    assert stated.identifiers == (U, Identifier("user_id", "7"))
    assert stated.primary == U


@pytest.mark.parametrize(
    "event",
    [
        _event("track"),
        _event("alias", anonymousId="a", previousId="b"),
        _event("extract", userId="u"),
        _event("audiencelist", userId="u"),
        _event(None, userId="u"),
        _event("track", userId=" ", anonymousId={"id": 1}),
    ],
)
def test_an_event_that_names_nobody_states_nothing(event):
    assert statement(event, "web") is None


def test_a_merge_states_its_ids_and_every_property():
    properties = [MAIL, {"type": "userId", "value": 12.0}, {"type": "anonymousId", "value": 7}]

    stated = statement(_event("merge", userId="u", mergeProperties=properties), "web")

    assert stated.identifiers == (
        U,
        Identifier("email", "e@x"),
        Identifier("user_id", "12"),
        Identifier("anonymous_id", "7"),
    )


def test_a_merge_without_ids_belongs_to_its_first_property():
    stated = statement(_event("merge", mergeProperties=[MAIL, MAIL]), "web")

    assert stated.identifiers == (Identifier("email", "e@x"),)
    assert stated.primary == Identifier("email", "e@x")


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (None, "not a list"),
        ("email", "not a list"),
        (MAIL, "not a list"),
        ([], "0 items"),
        ([MAIL] * 33, "33 items"),
        ([MAIL, "x"], r"mergeProperties\[1\] is not an object"),
        ([{"value": "1"}], r"mergeProperties\[0\].type"),
        ([{"type": " ", "value": "1"}], r"mergeProperties\[0\].type"),
        ([{"type": 5, "value": "1"}], r"mergeProperties\[0\].type"),
        ([MAIL, {"type": "mobile"}], r"mergeProperties\[1\].value"),
        ([{"type": "mobile", "value": "\u200b"}], r"mergeProperties\[0\].value"),
        ([{"type": "mobile", "value": ["1"]}], r"mergeProperties\[0\].value"),
    ],
)
def test_the_error_of_a_malformed_merge_names_the_fault(properties, message):
    with pytest.raises(MalformedMergeError, match=message):
        statement(_event("merge", userId="u", mergeProperties=properties), "web")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("u", "u"),
        (" U ", " U "),
        (True, "true"),
        (False, "false"),
        (12, "12"),
        (12.0, "12"),
        (12.5, "12.5"),
        (0, "0"),
        (1e22, "10000000000000000000000"),
        ("a\0b", "ab"),
        ("a\ud800", "a\ufffd"),
        ("Zoë 😀", "Zoë 😀"),
        ("x" * 5000, "x" * 5000),
        (None, None),
        ({}, None),
        (["u"], None),
        ("", None),
        (" \t\n", None),
        ("\u00a0\u2003", None),
        ("\u200b\ufeff", None),
        ("\u2800\u3164", None),
        ("\0", None),
    ],
)
def test_a_value_becomes_text_or_is_missing(value, text):
    assert visible_text(value) == text


@given(st.text())
def test_a_cleaned_value_can_be_stored_and_stays_as_it_is(text):
    cleaned = visible_text(text)

    assert cleaned is None or visible_text(cleaned) == cleaned
    assert "\0" not in (cleaned or "").encode().decode()


def test_a_blocked_value_is_no_identifier_and_the_next_is_primary():
    stated = statement(_event("track", userId="null", anonymousId="a"), "web")

    assert (stated.identifiers, stated.primary) == ((A,), A)
    assert len(stated.blocked) == 1


def test_an_event_of_blocked_values_alone_belongs_to_nobody():
    stated = statement(_event("track", userId="null", anonymousId="0000-00"), "web")

    assert (stated.identifiers, stated.primary, len(stated.blocked)) == ((), None, 2)


def test_a_rule_for_one_type_leaves_the_others():
    rules = Rules(BlockList([BlockRule(7, exact="x", id_type="user_id")]))

    stated = statement(_event("track", userId="x", anonymousId="x"), "web", rules)

    assert stated.identifiers == (Identifier("anonymous_id", "x"),)
    assert stated.blocked == (7,)


def test_trait_identifiers_are_linked_and_never_primary():
    rules = Rules(BlockList(), ("email", "phone"))
    event = _event("identify", traits={"email": "e@x"}, context={"traits": {"phone": 7}})

    stated = statement(event, "web", rules)

    assert stated.identifiers == (Identifier("email", "e@x"), Identifier("phone", "7"))
    assert stated.primary is None


def test_a_groups_traits_are_no_identifiers_of_its_member():
    rules = Rules(BlockList(), ("email",))
    event = _event("group", userId="u", groupId="g", traits={"email": "office@x"})

    assert statement(event, "web", rules).identifiers == (Identifier("user_id", "u"),)


@pytest.mark.parametrize("name", ["user_id", "userId", "anonymous_id", "anonymousId"])
def test_a_trait_of_an_ids_name_is_no_identifier(name):
    with pytest.raises(ValueError, match=name):
        Rules(trait_identifiers=(name,))


def test_traits_win_over_those_of_the_context():
    event = _event(
        "identify",
        userId="u",
        traits={"plan": "pro", "city": None},
        context={"traits": {"plan": "free", "city": "Oslo", "age": 7}},
    )

    assert statement(event, "web").traits == {"plan": "pro", "city": None, "age": 7}


def test_only_identify_and_group_calls_have_traits():
    traits = {"a": 1}
    context = {"traits": {"b": 2}}

    track = statement(_event("track", userId="u", traits=traits, context=context), "web")
    group = statement(_event("group", userId="u", groupId=5, traits=traits, context=context), "web")

    assert (track.traits, track.group_id) == ({}, "")
    assert (group.traits, group.group_id) == (traits, "5")


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({"timestamp": "2026-01-02T03:04:05.678901+01:00"}, "2026-01-02T02:04:05.678Z"),
        ({"timestamp": "2026-01-02"}, "2026-01-02T00:00:00Z"),
        (
            {"originalTimestamp": "2026-03-01T11:00:00Z", "sentAt": "2026-03-01T11:00:02Z"},
            "2026-03-01T10:00:07Z",
        ),
        ({"originalTimestamp": "2026-03-01T09:00:00Z"}, "2026-03-01T09:00:00Z"),
        ({"timestamp": "soon", "sentAt": "2026-03-01T11:00:02Z"}, "2026-03-01T10:00:09Z"),
        ({"originalTimestamp": "0001-01-01T00:00:00Z", "sentAt": "9999-12-31T00:00:00Z"}, RECEIVED),
        ({}, RECEIVED),
    ],
)
def test_the_event_time_is_its_timestamp_else_corrected_by_the_senders_clock(fields, time):
    stated = event_time(_event("track", **fields), _at(RECEIVED).astimezone(UTC))

    assert stated == _at(time)


def test_an_event_without_receipt_is_an_error():
    with pytest.raises(ValueError, match="receivedAt"):
        statement({"type": "track", "userId": "u"}, "web")


def test_a_key_depends_on_salt_type_and_value():
    key = node_key(b"salt", U)

    assert key == UUID("5d96077b-1611-9935-1d43-3932ff5a950d")
    others = [
        node_key(b"pepper", U),
        node_key(b"salt", A),
        node_key(b"salt", U._replace(value="v")),
    ]
    assert len({key, *others}) == 4
