"""Connections to the identities of a destination, and the links that an event states."""

from __future__ import annotations

import pytest

from destinations.interface import DestinationError
from destinations.warehouse.identity.statements import Identifier
from events.log import writer
from events.people import store
from tests.support.events import event
from tests.support.factories import make_destination
from tests.support.identity_graph import anonymous, user
from tests.support.people import Hub

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(warehouse, warehouse_url):
    yield Hub(warehouse, warehouse_url)
    store.close_pooled()
    writer.close_writer()


def test_a_destination_that_resolves_no_identities_has_none():
    destination = make_destination({"resolve_identities": False}, name="Plain")

    with (
        pytest.raises(DestinationError, match="Plain does not resolve identities"),
        store.connect(destination),
    ):
        pass


def test_a_thread_keeps_its_connection_and_replaces_it_once_it_is_closed(hub):
    with store.connect_pooled(hub.destination) as first:
        pass
    with store.connect_pooled(hub.destination) as second:
        second.conn.close()

    with store.connect_pooled(hub.destination) as third:
        row = third.conn.execute("SELECT 1").fetchone()

    assert first.conn is second.conn
    assert third.conn is not second.conn
    assert row == (1,)


def test_all_links_of_an_event_come_from_its_payload(hub):
    """m1 stated one of the three first; the payload of m2 states it as well."""
    hub.load(event(1, anonymousId="tablet", userId="ann", event="Looked"))
    stated = [{"type": "phone", "value": "0123"}]
    hub.load(event(2, "merge", anonymousId="tablet", userId="ann", mergeProperties=stated))

    with store.connect(hub.destination) as identities:
        pairs = store.stated_pairs(hub.destination, identities, "m2")

    phone = Identifier("phone", "0123")
    assert pairs == [
        (user("ann"), anonymous("tablet")),
        (user("ann"), phone),
        (anonymous("tablet"), phone),
    ]


def test_an_event_that_the_log_no_longer_has_states_nothing_more(hub):
    hub.load(event(1, anonymousId="tablet", userId="ann", event="Looked"))

    with store.connect(hub.destination) as identities:
        assert store.stated_pairs(hub.destination, identities, "m7") == []
