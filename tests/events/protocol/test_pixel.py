from __future__ import annotations

import base64
import json

import pytest

from events.protocol.event import EventTooLargeError, InvalidEventError
from events.protocol.json_body import InvalidJSONError
from events.protocol.pixel import pixel_event, prefers_image
from events.protocol.query_string import first_values

NOW = "2026-11-21T12:00:10.000Z"
START = {
    "channel": "web",
    "integrations": {"All": True},
    "originalTimestamp": NOW,
    "sentAt": NOW,
    "type": "page",
}


def event(query, event_type="page", *, takes_data=False):
    return pixel_event(first_values(query), event_type, NOW, 32_768, takes_data=takes_data)


@pytest.mark.parametrize(
    ("query", "members"),
    [
        (b"writeKey=k", {}),
        (b"anonymousId=%22a1%22", {"anonymousId": "a1"}),
        (b"anonymousId=%22", {"anonymousId": '"'}),
        (b"a=1&a=2", {"a": "1"}),
        (b"name=", {"name": "Unknown Page"}),
        (b"type=identify&channel=email", {"channel": "email"}),
        (b"integrations.All=false", {"integrations": {"All": "false"}}),
        (b"p.a.b=1&p.a.c=2", {"p": {"a": {"b": "1", "c": "2"}}}),
        (b"p.a%5C.b=1", {"p": {"a.b": "1"}}),
        (b"p.list.2=x&p.list.0=y", {"p": {"list": ["y", None, "x"]}}),
        (b"0=x", {"0": "x"}),
        (b"p.1001=x", {}),
        (b"p.99999999999999999999999=x", {}),
        (b"p.1000=x", {"p": [None] * 1000 + ["x"]}),
        (b"p.a=1&p.a.b=2", {"p": {"a": {"b": "2"}}}),
        (b"p.a.b=1&p.a=2", {"p": {"a": "2"}}),
        (b"p.0=1&p.a=2", {"p": {"a": "2"}}),
        (b"a*=1&b%3F=1&c%23=1&d%7C=1&%40e=1&=1", {}),
        (b"x=a+b%2Bc", {"x": "a b+c"}),
        (b"n%00ame=%00%FFx", {"name": "\ufffdx"}),
    ],
)
def test_parameters_lie_at_their_paths(query, members):
    assert event(query) == START | members


def test_an_empty_name_is_unknown_on_pages_only():
    assert event(b"name=", "track")["name"] == ""


def test_a_path_nests_no_deeper_than_a_body_may():
    with pytest.raises(InvalidJSONError, match="nested deeper than 200"):
        event(b"a" + b".a" * 200 + b"=1")


def test_gaps_of_lists_count_before_the_lists_are_created():
    query = b"&".join(b"p%d.1000=x" % number for number in range(10_000))

    with pytest.raises(EventTooLargeError):
        event(query)


def base64_json(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def test_segments_data_is_laid_down_first():
    query = b"name=Home&data=" + base64_json({"name": "x", "properties": {"n": 1}})

    assert event(query, takes_data=True) == START | {"name": "Home", "properties": {"n": 1}}


@pytest.mark.parametrize("data", [b"***", b"e", base64_json([1]), base64_json("x"), b""])
def test_unreadable_data_is_refused(data):
    with pytest.raises(InvalidEventError, match="data"):
        event(b"data=" + data, takes_data=True)


def test_data_is_a_parameter_like_others_in_the_other_spelling():
    assert event(b"data=x")["data"] == "x"


@pytest.mark.parametrize(
    ("accept", "image"),
    [
        ("", False),
        ("*/*", False),
        ("image/avif,image/webp,image/*,*/*;q=0.8", True),
        ("text/html,image/avif", False),
        ("text/html;q=0.9,image/avif", True),
        ("image/gif;q=0.2, text/plain;q=0.9", False),
        ("image/gif;q=0", False),
        ("IMAGE/GIF", True),
        ("image/gif;q=x", False),
    ],
)
def test_an_image_is_preferred_by_weight_then_by_place(accept, image):
    assert prefers_image(accept) is image
