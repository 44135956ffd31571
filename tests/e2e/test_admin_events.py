"""Where did my event go: the admin in headless Chromium, for one event of each fate."""

from __future__ import annotations

import pytest

from tests.e2e.walk import walk
from tests.support.http import basic_token
from tests.support.supervised_instance import running

pytestmark = pytest.mark.e2e

ORDER = {"type": "track", "event": "Order Done", "userId": "ann"}
FIRST = [
    {"type": "identify", "messageId": "link", "userId": "ann", "anonymousId": "tablet"},
    {**ORDER, "messageId": "good", "properties": {"total": 7777}},
]
SECOND = [
    {**ORDER, "messageId": "discarded", "properties": {"total": "free"}},
    {**ORDER, "messageId": "dead", "context": "no object"},
]
REFUSED = {"type": "nonsense", "event": "Order Done", "messageId": "refused", "userId": "bob"}


@pytest.fixture(scope="module")
def walked():
    """One walk through an instance of its own; the tests look at what it met."""
    with running() as instance:
        return walk(
            "events_pages.py",
            instance,
            step="events",
            setup_url=instance.info["setup_url"],
            basic=basic_token(instance.info["write_key"]),
            first=FIRST,
            second=SECOND,
            refused=REFUSED,
        )


def test_an_event_is_found_by_ids_names_and_text(walked):
    assert walked["answers"] == [200, 200, 400]
    live = walked["live"]
    assert live["counts"] == {"good": 1, "ann": 4, "tablet": 1, "Order+Done": 3, "7777": 1}
    assert live["again"].startswith("curl ")
    assert '"messageId":"good"' in live["again"]


def test_a_loaded_event_leads_to_its_row_its_profile_and_its_request(walked):
    good = walked["good"]

    assert "linked by userId and anonymousId in one identify event, link" in good["text"]
    assert "user-agent" in good["raw"].lower()
    assert "7777" in good["raw"]
    assert good["copied"] >= 3
    assert good["rows"] == 1


def test_a_discarded_value_is_shown(walked):
    assert "order_done.total: free" in walked["discarded"]


def test_a_refused_event_is_found_repaired_and_loaded(walked):
    refused = walked["quarantined"]

    assert refused["before"] == []
    assert refused["listed"] == 1
    assert "loaded" in refused["after"]


def test_a_dead_letter_is_rerun_and_discarded(walked):
    dead = walked["dead"]

    assert "dead letter" in dead["text"]
    assert dead["attempts"] == ["2"]
    assert "discarded by ada: a test of ours" in dead["after"]


def test_a_load_shows_its_work_by_table(walked):
    assert "order_done" in walked["load"]
    assert "the table" in walked["load"]


def test_the_screens_are_sound(walked):
    assert walked["serious"] == {}
    assert walked["overflow"] == []
    assert walked["words"] == []
    assert walked["foreign"] == []
