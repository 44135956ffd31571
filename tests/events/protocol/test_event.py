from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from events.protocol.event import (
    BATCH_TYPES,
    INTERNAL_TYPES,
    Envelope,
    EventTooLargeError,
    InvalidEventError,
    InvalidRequestError,
    ParsedEvent,
    batch_events,
    parse_batch,
    parse_event,
)

RECEIVED = "2026-11-21T12:00:10.000Z"


def envelope(**fields):
    given = {
        "received_at": datetime(2026, 11, 21, 12, 0, 10, tzinfo=UTC),
        "request_ip": "203.0.113.7",
        "new_id": lambda: "new-id",
    }
    return Envelope(**(given | fields))


def stored_payload(event, event_type="identify", **fields):
    return json.loads(parse_event({"userId": "u"} | event, event_type, envelope(**fields)).payload)


def test_an_event_is_stored_normalised():
    event = {"userId": "ann", "event": "Signed Up", "properties": {"plan": "pro"}, "x": [1]}

    parsed = parse_event(event, "track", envelope())

    assert parsed == ParsedEvent("new-id", "track", "Signed Up", "ann", "", parsed.payload)
    assert json.loads(parsed.payload) == {
        "userId": "ann",
        "event": "Signed Up",
        "properties": {"plan": "pro"},
        "x": [1],
        "type": "track",
        "messageId": "new-id",
        "request_ip": "203.0.113.7",
        "receivedAt": RECEIVED,
        "sentAt": RECEIVED,
        "originalTimestamp": RECEIVED,
        "timestamp": RECEIVED,
    }


ORIGINAL = "2026-11-21T11:00:00.000Z"
SENT = "2026-11-21T11:00:05.000Z"
OWN = "2011-11-11T11:11:11.111Z"


@pytest.mark.parametrize(
    ("times", "timestamp"),
    [
        ({"timestamp": OWN, "originalTimestamp": ORIGINAL, "sentAt": SENT}, OWN),
        ({"originalTimestamp": ORIGINAL, "sentAt": SENT}, "2026-11-21T12:00:05.000Z"),
        ({"originalTimestamp": ORIGINAL}, ORIGINAL),
        ({"sentAt": SENT}, RECEIVED),
        ({}, RECEIVED),
        ({"timestamp": 1, "originalTimestamp": "garbage", "sentAt": None}, RECEIVED),
        ({"originalTimestamp": "9999-12-31", "sentAt": "0001-01-01"}, RECEIVED),
    ],
)
def test_the_timestamp_cancels_a_wrong_clock(times, timestamp):
    assert stored_payload(times)["timestamp"] == timestamp


def test_the_sent_at_of_the_envelope_serves_events_without_their_own():
    served = stored_payload({"originalTimestamp": ORIGINAL}, sent_at=SENT)
    own = stored_payload({"sentAt": OWN}, sent_at=SENT)

    assert (served["sentAt"], served["timestamp"]) == (SENT, "2026-11-21T12:00:05.000Z")
    assert own["sentAt"] == OWN


def test_the_receipt_is_ours_except_on_a_replay():
    event = {"receivedAt": OWN, "request_ip": "198.51.100.9"}

    assert stored_payload(event)["receivedAt"] == RECEIVED
    assert stored_payload(event)["request_ip"] == "198.51.100.9"
    assert stored_payload(event, keeps_receipt=True)["receivedAt"] == OWN
    assert stored_payload({"receivedAt": "garbage"}, keeps_receipt=True)["receivedAt"] == RECEIVED


@pytest.mark.parametrize(
    ("sent", "kept"), [("m-1", "m-1"), (" m\0\u200b1 ", "m1"), ("  ", "new-id"), (7, "new-id")]
)
def test_a_message_id_is_text_or_new(sent, kept):
    assert stored_payload({"messageId": sent})["messageId"] == kept


@pytest.mark.parametrize("user_id", ["u", 456, 0, False, {"id": 1}, 12345678901234567890123])
def test_ids_are_stored_as_sent(user_id):
    assert stored_payload({"userId": user_id})["userId"] == user_id


@pytest.mark.parametrize(
    "ids", [{}, {"userId": None}, {"userId": "\u200b", "anonymousId": " "}, {"user_id": "u"}]
)
def test_an_event_without_ids_is_refused(ids):
    with pytest.raises(InvalidEventError, match="request neither has anonymousId nor userId"):
        parse_event(ids, "identify", envelope())


def test_extract_needs_no_ids():
    assert parse_event({"data": 1}, "extract", envelope()).type == "extract"


PROPERTY = {"type": "email", "value": "ann@example.com"}


@pytest.mark.parametrize(
    ("event_type", "event", "name"),
    [
        ("track", {}, "event"),
        ("track", {"event": " "}, "event"),
        ("group", {"groupId": None}, "groupId"),
        ("alias", {"previousId": ""}, "previousId"),
        ("alias", {"previousId": "p", "userId": None, "anonymousId": "a"}, "userId"),
        ("merge", {}, "mergeProperties"),
        ("merge", {"mergeProperties": []}, "mergeProperties"),
        ("merge", {"mergeProperties": PROPERTY}, "mergeProperties"),
        ("merge", {"mergeProperties": ["email"]}, r"mergeProperties\[0\]"),
        ("merge", {"mergeProperties": [PROPERTY, {"type": "x"}]}, r"mergeProperties\[1\].value"),
        ("merge", {"mergeProperties": [{"type": "", "value": 1}]}, r"mergeProperties\[0\].type"),
    ],
)
def test_a_missing_member_is_named(event_type, event, name):
    with pytest.raises(InvalidEventError, match=rf"^{name} "):
        parse_event({"userId": "u"} | event, event_type, envelope())


@pytest.mark.parametrize(
    ("event_type", "event"),
    [
        ("track", {"event": 7}),
        ("group", {"groupId": 42}),
        ("alias", {"previousId": "p"}),
        ("merge", {"mergeProperties": [{"type": "crm", "value": 17}]}),
        ("page", {}),
        ("screen", {"context": [1]}),
    ],
)
def test_required_fields_may_have_any_type(event_type, event):
    assert stored_payload(event, event_type)["type"] == event_type


@pytest.mark.parametrize("event", [None, 1, "x", [], True])
def test_an_event_is_an_object(event):
    with pytest.raises(InvalidEventError, match="event is not a valid rudder event"):
        parse_event(event, "track", envelope())


def test_the_type_of_a_batch_member_may_have_any_case():
    event = {"type": "IDENTIFY", "userId": "u"}

    assert parse_event(event, None, envelope()).type == "identify"


@pytest.mark.parametrize("event_type", [None, "", "foo", 7, "batch", "record", "extract"])
def test_another_type_is_refused(event_type):
    with pytest.raises(InvalidEventError, match=r"^type "):
        parse_event({"type": event_type, "userId": "u"}, None, envelope(types=BATCH_TYPES))


def test_internal_envelopes_take_more_types():
    event = {"type": "record", "userId": "u"}

    assert parse_event(event, None, envelope(types=INTERNAL_TYPES)).type == "record"


def test_the_limit_counts_compact_utf8_before_anything_is_added():
    event = {"userId": "é"}
    size = len('{"userId":"é"}'.encode())

    assert parse_event(dict(event), "identify", envelope(max_event_bytes=size))
    with pytest.raises(EventTooLargeError, match="request size exceeds max limit"):
        parse_event(dict(event), "identify", envelope(max_event_bytes=size - 1))


def test_members_that_are_no_data_are_removed():
    assert "writeKey" not in stored_payload({"writeKey": "key"}, removed_members=("writeKey",))


GOOD = {"type": "identify", "userId": "u"}
BAD = {"type": "identify"}


def parse(event):
    return parse_event(event, None, envelope())


def test_the_first_bad_event_refuses_a_batch_and_is_named():
    with pytest.raises(InvalidEventError, match=r"\(batch\[1\]\)$"):
        parse_batch([dict(GOOD), BAD, BAD], parse)


def test_bad_events_are_handed_over_where_somebody_keeps_them():
    kept = []

    parsed = parse_batch([BAD, dict(GOOD)], parse, lambda *bad: kept.append(bad))

    assert [event.user_id for event in parsed] == ["u"]
    assert [(event, error.position) for event, error in kept] == [(BAD, 0)]


@pytest.mark.parametrize("body", [{}, {"batch": None}, {"batch": []}, [GOOD], None, 1])
def test_a_batch_has_events(body):
    with pytest.raises(InvalidRequestError, match="empty batch payload"):
        batch_events(body)


def test_a_lone_object_is_a_batch_of_one():
    assert batch_events({"batch": GOOD}) == [GOOD]
