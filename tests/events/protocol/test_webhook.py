from __future__ import annotations

import pytest

from events.protocol.event import EventTooLargeError, InvalidRequestError
from events.protocol.json_body import InvalidJSONError
from events.protocol.webhook import webhook_event, webhook_properties

MULTIPART = 'multipart/form-data; boundary="B B"'
PARTS = (
    b"preamble\r\n--B B\r\n"
    b'Content-Disposition: form-data; filename="x.txt"; name="file"\r\n\r\nbytes\r\n'
    b'--B B\r\ncontent-disposition: form-data; name="f"\r\nX: y\r\n\r\nv\0\xff\r\n'
    b"--B B  \r\nContent-Disposition: form-data; name=f\r\n\r\na\r\nb\r\n--B B--\r\n"
)


@pytest.mark.parametrize(
    ("body", "label", "properties"),
    [
        (b'{"a":1}', "application/json", {"a": 1}),
        (b"[1,2]", "", {"body": [1, 2]}),
        (b"null", "text/plain", {"body": None}),
        (b"", "application/json", {}),
        (b"a=1&a=2&b=x+y", "application/x-www-form-urlencoded", {"a": ["1", "2"], "b": ["x y"]}),
        (PARTS, MULTIPART, {"Value": {"f": ["v\ufffd", "a\r\nb"]}, "File": {}}),
    ],
)
def test_the_body_becomes_the_properties(body, label, properties):
    assert webhook_properties(body, label) == properties


@pytest.mark.parametrize(
    ("body", "label"),
    [
        (b"zz", "multipart/form-data"),
        (b"zz", MULTIPART),
        (b"", MULTIPART),
        (b"--B B\r\n\r\nno name\r\n--B B--", MULTIPART),
        (b'--B B\r\nContent-Disposition: form-data; name="f"\r\n\r\nno end', MULTIPART),
    ],
)
def test_unreadable_multipart_is_refused(body, label):
    with pytest.raises(InvalidRequestError, match="error during parsing multiform"):
        webhook_properties(body, label)


def test_a_json_body_is_json():
    with pytest.raises(InvalidJSONError):
        webhook_properties(b"{", "application/json")


def test_the_event_has_a_name_and_an_id_of_our_own():
    assert webhook_event({"a": 1}, "id", 32_768) == {
        "event": "webhook_source_event",
        "anonymousId": "id",
        "properties": {"a": 1},
    }


def test_the_limit_of_events_holds():
    with pytest.raises(EventTooLargeError):
        webhook_event({"a": "x" * 100}, "id", 50)
