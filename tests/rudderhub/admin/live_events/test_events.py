from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from destinations.models import Connection
from events.models import DeadLetter, Event, Load, Quarantined
from events.workers import queue
from rudderhub.admin.live_events.event_list import PAGE, READ_BYTES, SEARCHED
from tests.support.broker import use_broker
from tests.support.factories import (
    make_connection,
    make_destination,
    make_event,
    make_events,
    make_source,
)
from tests.support.http import html
from tests.support.stub_servers import hanging_up

EVENTS = "/admin/events/event/"

pytestmark = pytest.mark.django_db


def listed_message_ids(response) -> list[str]:
    """The message ids of a page of live events, in order."""
    assert response.status_code == 200
    return [event.message_id for event in response.context["cl"].result_list]


def state_of(admin_client: Client, event: Event) -> str:
    (row,) = admin_client.get(EVENTS, {"q": event.message_id}).context["cl"].result_list
    return row.worst_state[0]


def test_live_events_are_newest_first(admin_client):
    first, second = make_event(), make_event()

    assert listed_message_ids(admin_client.get(EVENTS)) == [second.message_id, first.message_id]


def test_older_events_are_reached_page_by_page(admin_client):
    events = [event.message_id for event in make_events(2 * PAGE + 1)][::-1]

    one = admin_client.get(EVENTS)
    two = admin_client.get(EVENTS + one.context["cl"].older_url)
    three = admin_client.get(EVENTS + two.context["cl"].older_url)

    assert [listed_message_ids(one), listed_message_ids(two), listed_message_ids(three)] == [
        events[:PAGE],
        events[PAGE:-1],
        events[-1:],
    ]
    assert three.context["cl"].older_url == ""
    assert "This is the end of the log." in html(three)


@pytest.mark.parametrize("field", ["message_id", "user_id", "anonymous_id", "event"])
def test_events_are_found_by_any_id_and_by_name(admin_client, field):
    found = make_event(**{field: "sought"})
    make_event(**{field: "other"})

    assert listed_message_ids(admin_client.get(EVENTS, {"q": " sought "})) == [found.message_id]


def test_a_search_continues_beyond_its_window(admin_client):
    old = make_event(user_id="ann")
    make_event(id=old.pk + SEARCHED, user_id="bob")

    first = admin_client.get(EVENTS, {"q": "ann"})
    second = admin_client.get(EVENTS + first.context["cl"].older_url)

    assert listed_message_ids(first) == []
    assert listed_message_ids(second) == [old.message_id]


def test_a_message_id_is_found_beyond_the_window(admin_client):
    old = make_event(message_id="sought")
    make_event(id=old.pk + SEARCHED)

    assert listed_message_ids(admin_client.get(EVENTS, {"q": "sought"})) == [old.message_id]


def test_events_are_filtered_by_source_and_type(admin_client):
    source = make_source()
    page_event = make_event(source, type="page")
    make_event(source, type="track")
    make_event(type="page")

    filters = {"source": source.pk, "type": "page"}

    assert listed_message_ids(admin_client.get(EVENTS, filters)) == [page_event.message_id]


def test_an_event_of_a_deleted_source_is_still_shown(admin_client):
    event = make_event()
    event.source.delete()

    assert listed_message_ids(admin_client.get(EVENTS)) == [event.message_id]
    assert "deleted source" in html(admin_client.get(f"{EVENTS}{event.pk}/change/"))


def test_the_state_of_an_event_follows_the_cursors(admin_client):
    source = make_source()
    event = make_event(source)
    without = state_of(admin_client, event)
    one = make_connection(source, position=event.pk)
    loaded = state_of(admin_client, event)
    make_connection(source, position=event.pk - 1)
    pending = state_of(admin_client, event)
    DeadLetter.objects.create(
        connection=one, event_id=event.pk, message_id=event.message_id, reason="r", payload="{}"
    )

    assert (without, loaded, pending) == ("no connection", "loaded", "pending")
    assert state_of(admin_client, event) == "dead letter"


def test_an_event_before_its_connection_is_not_called_loaded(admin_client):
    source = make_source()
    event = make_event(source)
    make_connection(source, start_position=event.pk, position=event.pk)

    assert state_of(admin_client, event) == "before"


def test_the_trace_shows_each_connection_with_its_reason(admin_client):
    source = make_source(name="Shop")
    payload = (
        '{"type":"track","event":"E","messageId":"o\'hara","receivedAt":"2026-03-01T12:00:00Z"}'
    )
    event = make_event(source, message_id="o'hara", payload=payload)
    make_connection(source, position=event.pk, namespace="shop")
    failing = make_connection(source, make_destination(name="Far"), error="no route")

    page = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))

    assert (
        "SELECT * FROM &quot;shop&quot;.&quot;tracks&quot; WHERE id = &#x27;o&#x27;&#x27;hara"
        in page
    )
    assert "The last load failed: no route" in page
    assert f"/admin/destinations/connection/{failing.pk}/change/" in page


def test_a_payload_is_shown_indented_and_as_text(admin_client):
    event = make_event(payload='{"event":"<script>alert(1)</script>","n":1.10}')

    page = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))

    assert "<script>alert(1)" not in page
    assert "  &quot;n&quot;: 1.1\n" in page
    assert "&quot;n&quot;:1.10}" in page


@pytest.mark.parametrize("payload", ["[" * 5000, "9" * 5000])
def test_a_payload_that_cannot_be_indented_is_shown_as_it_is(admin_client, payload):
    event = make_event(payload=payload)

    assert payload in html(admin_client.get(f"{EVENTS}{event.pk}/change/"))


def test_the_log_cannot_be_changed_in_the_admin(admin_client):
    event = make_event()

    answers = [
        admin_client.post(f"{EVENTS}{event.pk}/{name}/").status_code
        for name in ("change", "delete")
    ]

    assert answers == [403, 403]
    assert admin_client.get(f"{EVENTS}add/").status_code == 403


@pytest.mark.django_db(transaction=True)
def test_a_new_connection_starts_where_the_form_says(admin_client):
    source, destination = make_source(), make_destination()
    event = make_event(source)
    given = {"source": source.pk, "destination": destination.pk, "start": "now", "enabled": "on"}

    admin_client.post("/admin/destinations/connection/add/", given | {"filter_mode": "all"})

    connection = Connection.objects.get()
    assert (connection.start_position, connection.enabled) == (event.pk, True)


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_made_paused_and_with_its_filter(admin_client):
    """So that nothing is loaded before it is as it shall be."""
    given = {"source": make_source().pk, "destination": make_destination().pk, "start": "oldest"}
    only = {"filter_mode": "only", "filtered_events": "Paid"}

    told = html(admin_client.post("/admin/destinations/connection/add/", given | only, follow=True))

    connection = Connection.objects.get()
    assert (connection.enabled, connection.filtered_events) == (False, ["Paid"])
    assert "Loading starts automatically once it is enabled." in told


def test_deleting_a_connection_counts_what_goes_with_it(admin_client):
    event = make_event()
    connection = make_connection(event.source)
    Load.objects.create(connection=connection, after_id=0, upto_id=1)
    connection.dead_letters.create(event_id=1, message_id="m", reason="r", payload="{}")

    asked = admin_client.get(f"/admin/destinations/connection/{connection.pk}/delete/")

    assert dict(asked.context["model_count"]) == {
        "connections": 1,
        "loads": 1,
        "replays": 0,
        "dead letters": 1,
        "pending events": 1,
    }


def test_the_page_of_a_connection_follows_how_it_fares(admin_client):
    event = make_event()
    connection = make_connection(event.source)
    url = f"/admin/destinations/connection/{connection.pk}"
    whole = html(admin_client.get(f"{url}/change/"))
    before = html(admin_client.get(f"{url}/state/"))
    connection.position, connection.last_loaded_at = event.pk, timezone.now()
    connection.save()

    after = html(admin_client.get(f"{url}/state/"))

    assert f'data-live-url="{url}/state/"' in whole
    assert "loading" in before
    assert "up to date" in after


def test_the_state_of_connections_requires_the_permission_to_view_them(staff_client):
    client = staff_client()

    answer = client.get(f"/admin/destinations/connection/{make_connection().pk}/state/")

    assert answer.status_code == 403


def test_connections_are_found_as_the_list_writes_them(admin_client):
    connection = make_connection()
    make_connection(connection.source)

    found = admin_client.get("/admin/destinations/connection/", {"q": str(connection)})

    assert list(found.context["cl"].result_list) == [connection]


def test_the_page_of_a_failing_connection_says_what_to_do(admin_client):
    connection = make_connection(error="connection refused")

    page = html(admin_client.get(f"/admin/destinations/connection/{connection.pk}/change/"))

    assert "connection refused<br>No server listens there" in page


def test_the_list_of_connections_shows_health_and_pending_events(admin_client):
    source = make_source()
    make_connection(source, position=make_event(source).pk)
    make_connection(source, error="no route to host", failures=3)
    make_connection(source, enabled=False)

    page = html(admin_client.get("/admin/destinations/connection/"))

    assert "up to date" in page
    assert "failing" in page
    assert "no route to host" in page
    assert "paused" in page


def test_saving_a_connection_leaves_its_cursor_to_the_load(admin_client):
    connection = make_connection(position=5)
    Connection.objects.filter(pk=connection.pk).update(position=9)

    admin_client.post(
        f"/admin/destinations/connection/{connection.pk}/change/", {"filter_mode": "all"}
    )

    connection.refresh_from_db()
    assert (connection.enabled, connection.position) == (False, 9)


def test_connections_are_paused_and_enabled_from_the_list(admin_client):
    connection = make_connection()
    chosen = {"_selected_action": [connection.pk]}

    admin_client.post("/admin/destinations/connection/", chosen | {"action": "pause"})
    paused = not Connection.objects.get().enabled
    admin_client.post("/admin/destinations/connection/", chosen | {"action": "enable"})

    assert paused
    assert Connection.objects.get().enabled


def test_load_now_ends_the_wait_and_rings_a_worker(admin_client, monkeypatch):
    connection = make_connection(retry_at=timezone.now() + timedelta(hours=1))
    queue.mark_taken(connection.pk)
    broker = use_broker(monkeypatch, "memory://")

    page = html(
        admin_client.post(f"/admin/destinations/connection/{connection.pk}/load/", follow=True)
    )

    assert f"Loading requested: {connection}" in page
    connection.refresh_from_db()
    assert connection.retry_at is None
    message = broker.SimpleQueue("celery").get(timeout=1)
    assert message.headers["task"] == "events.tasks.load_connection"
    assert message.payload[0] == [connection.pk]


def test_load_now_says_when_a_connection_is_paused(admin_client):
    connection = make_connection(enabled=False)
    chosen = {"_selected_action": [connection.pk], "action": "load_now"}

    page = html(admin_client.post("/admin/destinations/connection/", chosen, follow=True))

    assert f"{connection} is paused or its destination is disabled." in page


def test_load_now_without_a_broker_says_so_after_one_attempt(admin_client, monkeypatch):
    connection = make_connection()
    chosen = {"_selected_action": [connection.pk], "action": "load_now"}
    queue.mark_taken(connection.pk)

    with hanging_up() as (port, clients):
        use_broker(monkeypatch, f"redis://127.0.0.1:{port}/0")
        page = html(admin_client.post("/admin/destinations/connection/", chosen, follow=True))

    assert "The broker does not answer." in page
    assert LogEntry.objects.get().get_change_message() == "Requested a load."
    assert len(clients) == 1


def test_loads_show_rows_by_table_and_advice(admin_client):
    connection = make_connection()
    done = Load.objects.create(
        connection=connection,
        after_id=0,
        upto_id=9,
        state="succeeded",
        events=9,
        rows={"tracks": 9},
    )
    waiting = Load.objects.create(
        connection=connection, after_id=9, upto_id=9, state="waiting", error="no route"
    )

    listed = html(admin_client.get("/admin/events/load/"))
    one = html(admin_client.get(f"/admin/events/load/{done.pk}/change/"))
    other = html(admin_client.get(f"/admin/events/load/{waiting.pk}/change/"))

    assert "succeeded" in listed
    assert "<code>tracks</code>" in one
    assert "The next load starts automatically at the same event. Nothing is lost." in other


def test_dead_letters_are_searched_and_lead_to_their_trace(admin_client):
    event = make_event(message_id="m-1")
    letter = DeadLetter.objects.create(
        connection=make_connection(event.source),
        event_id=event.pk,
        message_id="m-1",
        reason="too many columns",
        payload='{"a": 1}',
    )

    listed = html(admin_client.get("/admin/events/deadletter/", {"q": "columns"}))
    page = html(admin_client.get(f"/admin/events/deadletter/{letter.pk}/change/"))

    assert "too many columns" in listed
    assert f"{EVENTS}{event.pk}/change/" in page
    assert "&quot;a&quot;: 1" in page


def test_quarantine_shows_a_body_that_is_not_text_and_says_when_it_was_cut(admin_client):
    refused = Quarantined.objects.create(
        source=make_source(),
        route="/v1/track",
        status=400,
        reason="body is not JSON",
        body=b"\x80{<b>",
        body_bytes=9000,
    )

    listed = html(admin_client.get("/admin/events/quarantined/", {"q": "json"}))
    page = html(admin_client.get(f"/admin/events/quarantined/{refused.pk}/change/"))

    assert "body is not JSON" in listed
    assert "\\x80{&lt;b&gt;" in page
    assert "Only the first 5 of 9,000 bytes were kept." in page


def test_the_list_of_sources_shows_when_each_last_sent(admin_client):
    make_event(make_source(name="Busy"), received_at=timezone.now() - timedelta(minutes=5))
    make_source(name="Silent")

    page = html(admin_client.get("/admin/sources/source/"))

    assert "5\xa0minutes ago" in page
    assert "none yet" in page


def test_lists_offer_no_counts_per_filter(admin_client):
    make_event()

    assert "Show counts" not in html(admin_client.get(EVENTS))


def test_the_list_of_connections_takes_the_same_queries_for_any_number(
    admin_client, django_assert_max_num_queries
):
    for _ in range(8):
        make_connection()

    with django_assert_max_num_queries(12):
        admin_client.get("/admin/destinations/connection/")


def test_empty_lists_say_how_to_fill_them(admin_client):
    assert "No events yet." in html(admin_client.get(EVENTS))
    assert "No loads yet." in html(admin_client.get("/admin/events/load/"))
    assert "Nothing matches" in html(admin_client.get(EVENTS, {"q": "nobody"}))


def test_the_overview_shows_the_rate_and_the_newest_errors(admin_client):
    event = make_event()
    make_connection(event.source, make_destination(name="Far"), error="no route to host")

    page = html(admin_client.get("/admin/"))

    assert "1 event in the last hour" in page
    assert "is not being loaded" in page
    assert "no route to host" in page


def test_the_overview_hides_events_without_the_permission_to_view_them(staff_client):
    make_connection(make_event().source, error="no route to host")
    client = staff_client()

    page = html(client.get("/admin/"))

    assert "Events in the last hour" not in page
    assert "no route to host" not in page


def test_a_user_who_may_only_view_cannot_start_a_load(staff_client):
    client = staff_client("view_connection")

    answer = client.post(f"/admin/destinations/connection/{make_connection().pk}/load/")

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("status", "found"),
    [("dead letter", [0]), ("loaded", [1]), ("pending", [2]), ("no connection", [3])],
)
def test_events_are_filtered_by_status(admin_client, status, found):
    source = make_source()
    events = [make_event(source), make_event(source), make_event(source), make_event()]
    connection = make_connection(source, position=events[1].pk)
    dead = {"event_id": events[0].pk, "message_id": events[0].message_id}
    DeadLetter.objects.create(connection=connection, reason="r", payload="{}", **dead)

    assert listed_message_ids(admin_client.get(EVENTS, {"status": status})) == [
        events[n].message_id for n in found
    ]


def test_events_are_filtered_by_name_and_found_by_any_text(admin_client):
    paid = make_event(event="Paid", payload='{"event": "Paid", "coupon": "SPRING"}')
    make_event(event="Left")

    assert listed_message_ids(admin_client.get(EVENTS, {"name": "Paid"})) == [paid.message_id]
    assert listed_message_ids(admin_client.get(EVENTS, {"q": "SPRING"})) == [paid.message_id]


def test_the_sdk_of_an_event_is_shown(admin_client):
    library = '{"context": {"library": {"name": "rudder-node", "version": "2.1.0"}}}'
    make_event(payload=library)
    make_event(payload='{"context": {"library": "' + "x" * READ_BYTES + '"}}')

    page = html(admin_client.get(EVENTS))

    assert "rudder-node 2.1.0" in page
    assert "x" * 100 not in page


def test_a_search_without_a_result_says_where_to_search_next(admin_client):
    make_event()

    page = html(admin_client.get(EVENTS, {"q": "nowhere"}))

    assert "Nothing matches" in page
    assert "To see refused requests" in page


def test_an_event_is_copied_as_curl(admin_client):
    event = make_event(payload='{"type": "track", "event": "it\'s"}')

    page = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))

    assert "/v1/batch -u" in page
    assert "$WRITE_KEY:" in page
