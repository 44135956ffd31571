"""What the pages of destinations tell of their connections, and the ready views."""

from __future__ import annotations

import socket
from datetime import time, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from destinations.models import Destination, Erasure
from destinations.schedule import Schedule
from events.loads.run import run_load
from events.workers import queue as workers_queue
from tests.support.broker import use_broker
from tests.support.connections import send
from tests.support.events import event, track
from tests.support.factories import (
    make_connection,
    make_destination,
    make_event,
    make_source,
)
from tests.support.http import html
from tests.support.warehouse import rows

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/destinations/destination/"
VIEWS = """
SELECT c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'shop' AND c.relkind = 'v' AND c.relname NOT LIKE '%resolved'
ORDER BY 1
"""


@pytest.fixture
def viewer(staff_client):
    return staff_client("view_destination")


@pytest.fixture
def broker(monkeypatch):
    return use_broker(monkeypatch, "memory://")


def url(connection, name):
    return f"{LIST}{connection.destination_id}/{name}/"


def test_a_destination_fares_as_its_worst_connection(admin_client):
    destination = make_destination()
    source, now = make_source(), timezone.now()
    make_connection(make_source(), destination)
    make_connection(source, destination, error="no route to host", failures=1)
    make_event(source, received_at=now - timedelta(minutes=7))

    page = html(admin_client.get(LIST))

    assert "failing" in page
    assert "no route to host" in page
    assert "7\xa0minutes" in page


def test_a_destination_that_no_source_feeds_says_so(admin_client):
    make_destination()

    assert "not connected to a source" in html(admin_client.get(LIST))


def test_the_list_shows_schemas_and_schedule(admin_client):
    destination = make_destination({"syncFrequency": "30", "syncStartAt": "02:00"})
    make_connection(make_source(), destination, namespace="shop")
    make_connection(make_source(), destination, namespace="app")
    make_destination({"syncFrequency": "often"})

    page = html(admin_client.get(LIST))

    assert "app, shop" in page
    assert "every 30 min from 02:00" in page
    assert "syncFrequency is &#x27;often&#x27;" in page


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        (Schedule(), "continuously"),
        (Schedule(30), "every 30 min"),
        (Schedule(0, None, (time(22), time(6))), "continuously, not 22:00 to 06:00 UTC"),
        (
            Schedule(60, time(2), (time(8), time(9, 30))),
            "every 60 min from 02:00, not 08:00 to 09:30 UTC",
        ),
    ],
)
def test_a_schedule_is_shown_in_words(schedule, words):
    assert str(schedule) == words


def test_a_destination_names_its_connections_and_their_errors(admin_client):
    connection = make_connection(make_source(name="Shop"), error="Connection refused")

    page = html(admin_client.get(url(connection, "change")))

    assert f"/admin/destinations/connection/{connection.pk}/change/" in page
    assert "Connection refused No server listens there. Start it" in page


def test_the_list_takes_the_same_queries_for_any_number_of_connections(admin_client):
    def queries():
        with CaptureQueriesContext(database) as asked:
            html(admin_client.get(LIST))
        return len(asked)

    destination = make_destination()
    make_event(make_connection(make_source(), destination).source)
    few = queries()
    for _ in range(5):
        make_event(make_connection(make_source(), destination).source)
        make_event(make_connection().source)

    assert queries() == few


def test_load_now_enqueues_every_connection_and_ends_its_wait(admin_client, broker):
    destination, later = make_destination(), timezone.now() + timedelta(hours=1)
    one = make_connection(make_source(), destination, retry_at=later)
    two = make_connection(make_source(), destination, retry_at=later)
    for connection in (one, two):
        workers_queue.mark_taken(connection.pk)

    page = html(admin_client.post(url(one, "load"), follow=True))

    assert f"Loading requested: {one}, {two}" in page
    one.refresh_from_db()
    two.refresh_from_db()
    assert (one.retry_at, two.retry_at) == (None, None)
    with broker.SimpleQueue("celery") as queue:
        assert queue.qsize() == 2
        queue.clear()


def test_ready_views_are_shown_before_they_are_created(admin_client, connection, warehouse):
    send(connection, track("m1", event="Paid"), event("m2", "page", userId="u1"))
    run_load(connection)

    before = html(admin_client.get(url(connection, "views")))
    made_by_looking = rows(warehouse, VIEWS)
    after = html(admin_client.post(url(connection, "views"), follow=True))
    again = html(admin_client.get(url(connection, "views")))

    assert "shop.rudder_sessions" in before
    assert "pages, tracks" in before or "tracks, pages" in before
    assert before.count("will be created") == 2
    assert made_by_looking == []
    assert "Created shop.rudder_sessions, shop.rudder_daily_active_users." in after
    assert rows(warehouse, VIEWS) == [("rudder_daily_active_users",), ("rudder_sessions",)]
    assert again.count("exists, will be replaced") == 2
    assert LogEntry.objects.filter(change_message__startswith="Created shop.rudder").count() == 1


def test_a_schema_without_their_tables_says_why_there_are_none(admin_client, connection):
    send(connection, event("m1", "identify", userId="u1"))
    run_load(connection)

    shown = html(admin_client.get(url(connection, "views")))
    tried = html(admin_client.post(url(connection, "views"), follow=True))

    assert "shop has no table tracks, pages or screens yet" in shown
    assert "Create views" not in shown
    assert "shop has no table tracks, pages or screens yet" in tried


def test_ready_views_report_an_unavailable_server(admin_client):
    connection = make_connection(namespace="shop")

    assert "not possible" in html(admin_client.get(url(connection, "views")))


def test_a_server_that_never_answers_is_queried_once_for_all_schemas(admin_client):
    with socket.create_server(("127.0.0.1", 0)) as server:
        destination = make_destination({"port": server.getsockname()[1]})
        for name in ("a", "b", "c"):
            make_connection(destination=destination, namespace=name)
        shown = html(admin_client.get(f"{LIST}{destination.pk}/views/"))

    assert shown.count("connection timeout expired") == 1


def test_views_that_are_in_use_keep_nobody_waiting(admin_client, connection, warehouse):
    send(connection, track("m1", event="Paid"))
    run_load(connection)
    admin_client.post(url(connection, "views"))
    with warehouse.transaction():
        warehouse.execute("LOCK TABLE shop.rudder_sessions IN ACCESS SHARE MODE")
        refused = html(admin_client.post(url(connection, "views"), follow=True))

    assert "lock timeout" in refused


def test_no_view_can_be_created_before_the_first_load(admin_client):
    page = html(admin_client.get(url(make_connection(), "views")))

    assert "Nothing has been loaded into this destination yet" in page


@pytest.mark.parametrize("name", ["views", "load", "check"])
def test_a_user_who_may_only_view_cannot_change_a_destination(viewer, name):
    connection = make_connection(namespace="shop")

    assert viewer.post(url(connection, name)).status_code == 403
    assert f"/{name}/" not in html(viewer.get(url(connection, "change")))


def test_what_goes_with_a_destination_is_counted_before_it_is_deleted(admin_client, connection):
    send(connection, track("m1"), event("m2", "nonsense", userId="u1"))
    run_load(connection)
    destination = connection.destination
    Erasure.objects.create(destination=destination, state="done")

    preview = admin_client.get(url(connection, "delete"))
    admin_client.post(url(connection, "delete"), {"post": "yes"})

    assert dict(preview.context["model_count"]) == {
        "destinations": 1,
        "connections": 1,
        "loads": 1,
        "replays": 0,
        "dead letters": 1,
        "erasure receipts": 1,
        "API tokens": 0,
    }
    assert not Destination.objects.exists()
    assert LogEntry.objects.get().is_deletion()


def test_a_destination_with_an_unfinished_erasure_is_kept(admin_client, connection):
    waiting = Erasure.objects.create(destination=connection.destination, state="waiting")

    refused = html(admin_client.post(url(connection, "delete"), {"post": "yes"}))

    assert f"{waiting}; wait until it ends" in refused
    assert Destination.objects.get() == connection.destination
