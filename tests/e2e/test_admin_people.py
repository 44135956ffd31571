"""People in the admin in headless Chromium: search, picture, explain, un-merge, cut, erase."""

from __future__ import annotations

import pytest

from tests.e2e.walk import walk
from tests.support.http import basic_token
from tests.support.supervised_instance import running

pytestmark = pytest.mark.e2e

ANN = {"email": "ann@shop.example", "name": "Ann Lee"}
MAIL = {"type": "email", "value": "ann@shop.example"}
OFFICE_DEVICES = 40


def track(number, user, device, **more):
    return {
        "type": "track",
        "event": "Order Done",
        "messageId": f"m{number}",
        "userId": user,
        "anonymousId": device,
        **more,
    }


APART = [
    track(1, "ann", "tablet", type="identify", traits=ANN),
    track(4, "ann", "laptop"),
    {"type": "merge", "messageId": "m5", "userId": "ann", "mergeProperties": [MAIL]},
    track(2, "bob", "phone"),
]
JOINED = [track(3, "bob", "tablet")]
OFFICE = [track(n, "office", f"9d1c{n:04}-67fa-4d15-b2a4") for n in range(10, 10 + OFFICE_DEVICES)]


@pytest.fixture(scope="module")
def walked():
    """One walk through an instance of its own; the tests look at what it met."""
    with running() as instance:
        return walk(
            "people_pages.py",
            instance,
            step="people",
            setup_url=instance.info["setup_url"],
            basic=basic_token(instance.info["write_key"]),
            apart=APART,
            joined=JOINED,
            office=OFFICE,
        )


def test_a_profile_found_by_a_device_shows_its_graph_and_why_it_is_one_person(walked):
    assert walked["search"] == {
        "found": 1,
        "nodes": 6,
        "edges": 5,
        "marked": 2,
        "steps": 2,
        "focused": walked["search"]["focused"],
    }
    assert walked["search"]["focused"].split()[0] in {"anonymous_id", "email", "user_id"}


def test_a_merge_is_undone_after_its_preview_and_taken_back(walked):
    assert walked["undone"] == {
        "sides": 2,
        "untouched": True,
        "apart": True,
        "again": True,
        "log": ["split off", "merged"],
        "by_ada": 2,
    }


def test_a_link_is_cut_from_the_profile_and_stays_in_its_picture(walked):
    assert walked["cut"] == {"back_on": 1, "drawn": 1, "apart": True}


def test_an_erased_person_is_gone_and_has_a_receipt(walked):
    assert walked["erased"] == {"kept": 1, "gone": [], "others": 1, "receipts": ["done"]}


def test_a_person_of_many_devices_is_drawn_whole(walked):
    assert walked["many"] == OFFICE_DEVICES + 1


def test_the_pages_are_sound(walked):
    assert walked["serious"] == {}
    assert walked["overflow"] == []
    assert walked["words"] == []
    assert walked["foreign"] == []
