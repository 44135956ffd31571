"""Every query of docs/reference/profile-queries.md, on events with a known result."""

from __future__ import annotations

import re

import pytest

from events.log import writer
from rudderhub.env import ROOT
from tests.support.events import event
from tests.support.identity_graph import anonymous
from tests.support.people import Hub

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = (ROOT / "docs" / "reference" / "profile-queries.md").read_text()
QUERIES = dict(re.findall(r"^### (.+?)\n.*?```sql\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))
ANSWERS = {
    "All identifiers of a person": [
        ("anonymous_id", "laptop"),
        ("anonymous_id", "phone"),
        ("user_id", "u1"),
    ],
    "People by number of events": [("u1", 2), ("u2", 1)],
    "Visits before the sign-up": [("u1", 1)],
    "People by plan": [("free", 1), ("pro", 1)],
    "People with several devices": [("u1", 2)],
    "Users with their profile": [("u1", "ann@x.example", 3), ("u2", None, 1)],
    "Accounts with their members": [("acme", "Acme", 2)],
    "Events of an account": [("acme", 3)],
    "Why two identifiers are one person": [
        (1, "joined", "phone", "u1", "m2"),
        (2, "joined", "u1", "laptop", "m4"),
    ],
}


@pytest.fixture
def hub(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url)
    shop = {"source": "Shop"}
    first = {"email": "ann@x.example", "plan": "free"}
    hub.load(
        event(1, "page", anonymousId="phone", name="Home", **shop),
        event(2, "identify", anonymousId="phone", userId="u1", traits=first, **shop),
        event(3, anonymousId="laptop", event="Looked", **shop),
    )
    hub.load(
        event(4, "identify", anonymousId="laptop", userId="u1", traits={"plan": "pro"}, **shop),
        event(5, anonymousId="phone", event="Bought", **shop),
        event(6, "group", anonymousId="phone", groupId="acme", traits={"name": "Acme"}, **shop),
        event(7, "group", userId="u1", groupId="acme", **shop),
        event(8, "identify", userId="u2", traits={"plan": "free"}, **shop),
        event(9, "group", userId="u2", groupId="acme", **shop),
        event(10, userId="u2", event="Looked", **shop),
    )
    yield hub
    writer.close_writer()


def query_rows(hub, name):
    return hub.conn.execute(QUERIES[name]).fetchall()


@pytest.mark.parametrize("name", ANSWERS)
def test_a_query_gives_what_was_computed_by_hand(hub, name):
    assert query_rows(hub, name) == ANSWERS[name]


def test_a_profile_is_found_by_any_identifier(hub):
    query = QUERIES["Find a profile by any identifier"].replace("ann@x.example", "laptop")
    (row,) = hub.conn.execute(query).fetchall()

    assert row[1:] == ("u1", "ann@x.example", {"email": "ann@x.example", "plan": "pro"})
    assert row[0] == hub.profile("u1")


def test_the_events_of_a_person_are_those_of_all_devices(hub):
    assert [row[1] for row in query_rows(hub, "Everything that a person did")] == [
        "looked",
        "bought",
    ]


def test_former_ids_are_listed(hub):
    assert query_rows(hub, "Changed ids") == [(hub.key(anonymous("laptop")), hub.profile("u1"))]


def test_every_query_of_the_page_is_tested():
    elsewhere = {
        "Find a profile by any identifier",
        "Everything that a person did",
        "Changed ids",
    }

    assert set(QUERIES) == set(ANSWERS) | elsewhere
