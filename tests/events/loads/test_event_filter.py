"""The event filter of a connection: what it leaves out is skipped, and counted."""

from __future__ import annotations

import pytest

from destinations.interface import EventFilter
from destinations.models import Connection, FilterMode
from events.loads import ledger, replays
from events.loads.run import run_load
from events.models import DeadLetter, Event, Load, Replay
from tests.support.connections import send
from tests.support.events import event, track
from tests.support.factories import make_connection
from tests.support.warehouse import rows

FILTERED = "the event filter of the connection leaves it out"


def names(*called, only):
    return EventFilter(frozenset(called), only=only)


def set_filter(connection, mode, *called):
    connection.filter_mode, connection.filtered_events = mode, list(called)
    connection.save()


def ids(warehouse, table):
    return [row_id for (row_id,) in rows(warehouse, f"SELECT id FROM shop.{table} ORDER BY id")]  # noqa: S608


@pytest.mark.parametrize(
    ("event", "takes"),
    [
        ({"type": "track", "event": "Paid"}, True),
        ({"type": "track", "event": " Paid "}, True),
        ({"type": "track", "event": "paid"}, False),
        ({"type": "track", "event": "page"}, True),
        ({"type": "page", "name": "Paid"}, True),
        ({"type": "identify", "event": "Paid"}, False),
        ({"type": "track"}, False),
    ],
)
def test_a_track_event_is_called_by_its_name_and_another_by_its_type(event, takes):
    assert names("Paid", "page", only=True).takes(event) is takes
    assert names("Paid", "page", only=False).takes(event) is not takes


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("mode", "kept"), [("all", ["m1", "m2"]), ("only", ["m1"]), ("except", ["m2"])]
)
def test_only_events_that_the_filter_takes_are_loaded(connection, warehouse, mode, kept):
    set_filter(connection, mode, "Paid")
    send(connection, track("m1", event="Paid"), track("m2", event="Left"))

    run_load(connection)

    assert ids(warehouse, "tracks") == kept


@pytest.mark.django_db(transaction=True)
def test_filtered_events_are_skipped_with_a_reason_and_the_ledger_adds_up(connection):
    set_filter(connection, FilterMode.EXCEPT, "page")
    send(
        connection,
        event("m1", userId="u1"),
        event("m2", "page", userId="u1"),
        event("m3", "page", userId="u1"),
    )

    run_load(connection)

    (balance,) = ledger.balances([connection])
    assert (balance.loaded, balance.skipped, balance.difference) == (1, 2, 0)
    assert Load.objects.get().skip_reasons == {FILTERED: 2}


@pytest.mark.django_db(transaction=True)
def test_an_event_that_is_left_out_is_no_dead_letter_whatever_it_holds(connection):
    set_filter(connection, FilterMode.EXCEPT, "Paid")
    send(connection, track("m1", event="Paid", context="no object"))

    run_load(connection)

    assert not DeadLetter.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_replay_loads_events_that_the_filter_left_out_before(connection, warehouse):
    set_filter(connection, FilterMode.EXCEPT, "Left")
    send(connection, track("m1", event="Paid"), track("m2", event="Left"))
    run_load(connection)
    before = ids(warehouse, "tracks")
    set_filter(connection, FilterMode.ALL)

    replays.begin_replay(connection, None)
    replays.run_slice(Replay.objects.select_related("connection__source").get())

    assert (before, ids(warehouse, "tracks")) == (["m1"], ["m1", "m2"])


@pytest.mark.django_db(transaction=True)
def test_the_trace_of_an_event_that_was_left_out_says_why(admin_client, connection):
    set_filter(connection, FilterMode.EXCEPT, "Left")
    send(connection, track("m1", event="Left"))
    run_load(connection)

    page = admin_client.get(
        f"/admin/events/event/{Event.objects.get().pk}/change/"
    ).content.decode()

    assert f"No row because {FILTERED}. If it was loaded before" in page


@pytest.mark.django_db(transaction=True)
def test_an_event_that_an_earlier_filter_left_out_is_not_called_loaded(admin_client, connection):
    set_filter(connection, FilterMode.EXCEPT, "Left")
    send(connection, track("m1", event="Left"))
    run_load(connection)
    set_filter(connection, FilterMode.ALL)

    page = admin_client.get(
        f"/admin/events/event/{Event.objects.get().pk}/change/"
    ).content.decode()

    assert ": no row now</strong>" in page
    assert "the event filter left the event out" in page
    assert "data-live" not in page


@pytest.mark.django_db
def test_the_list_marks_connections_with_a_filter(admin_client):
    make_connection(filter_mode="only", filtered_events=["Paid"])
    make_connection()

    page = admin_client.get("/admin/destinations/connection/").content.decode()

    assert page.count('<span class="rh-label rh-off">filtered</span>') == 1


@pytest.mark.django_db
def test_the_filter_is_set_one_event_a_line(admin_client):
    connection = make_connection(position=5)
    url = f"/admin/destinations/connection/{connection.pk}/change/"
    given = {"enabled": "on", "filter_mode": "only", "filtered_events": " Order Done \r\n\r\npage"}

    admin_client.post(url, given)

    connection.refresh_from_db()
    assert connection.event_filter == names("Order Done", "page", only=True)
    assert "Order Done\npage</textarea>" in admin_client.get(url).content.decode()


@pytest.mark.django_db
def test_a_filter_without_events_is_refused_in_words(admin_client):
    connection = make_connection()
    given = {"enabled": "on", "filter_mode": "except", "filtered_events": " "}

    answer = admin_client.post(f"/admin/destinations/connection/{connection.pk}/change/", given)

    assert "Enter at least one event" in answer.content.decode()
    assert Connection.objects.get().event_filter is None
