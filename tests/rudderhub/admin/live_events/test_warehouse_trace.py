from __future__ import annotations

import pytest

from events.loads.run import run_load
from events.models import DeadLetter, Event
from tests.support.connections import send
from tests.support.events import event, track
from tests.support.factories import make_admin, make_write_key

pytestmark = pytest.mark.django_db(transaction=True)


def loaded(connection, *events):
    for each in events:
        send(connection, each)
        run_load(connection)


def trace_parts(client, message_id):
    """The page of an event, without its layout."""
    found = Event.objects.get(message_id=message_id)
    response = client.get(f"/admin/events/event/{found.pk}/change/")
    assert response.status_code == 200
    return dict(response.context["parts"])


def trace_of(client, message_id):
    return " ".join(trace_parts(client, message_id)["Trace"].split())


def test_the_rows_of_an_event_are_shown_with_queries_and_links(admin_client, connection):
    loaded(connection, track("m1", event="Paid"))

    trace = trace_of(admin_client, "m1")

    table = f"/admin/tables/{connection.destination_id}/shop"
    assert f'<a class="rh-link" href="{table}/tracks/?id=m1">' in trace
    assert f'<a class="rh-link" href="{table}/paid/?id=m1">' in trace
    query = "SELECT * FROM &quot;shop&quot;.&quot;paid&quot; WHERE id = &#x27;m1&#x27;;"
    assert f'data-copy="{query}"' in trace
    assert f"/admin/events/load/{connection.loads.get().pk}/change/" in trace
    assert "All values were stored" in trace


def test_an_identify_is_traced_to_its_users_row(admin_client, connection):
    loaded(connection, event("m1", "identify", userId="ann"))

    trace = trace_of(admin_client, "m1")

    assert "/shop/identifies/?id=m1" in trace
    assert "/shop/users/?id=ann" in trace


def test_a_value_that_did_not_fit_is_shown_with_its_reason(admin_client, connection):
    loaded(connection, track("m1", event="Paid", properties={"n": 1}))
    loaded(connection, track("m2", event="Paid", properties={"n": "many"}))

    assert "<strong>paid.n</strong>: <code>many</code>" in trace_of(admin_client, "m2")
    assert "paid.n" not in trace_of(admin_client, "m1")


def test_the_trace_reports_a_deleted_row(admin_client, connection, warehouse):
    loaded(connection, track("m1", event="Paid"))
    warehouse.execute("DELETE FROM shop.paid")

    assert 'shop.paid <span class="rh-label rh-off">no row now' in trace_of(admin_client, "m1")


ANN = {"userId": "ann", "anonymousId": "x"}
RULES = {
    "identify": (
        event("link", "identify", **ANN),
        "user_id ann - anonymous_id x: linked by userId and anonymousId in one identify event",
    ),
    "track": (
        track("link", event="Seen", **ANN),
        "user_id ann - anonymous_id x: linked by userId and anonymousId in one track event",
    ),
    "alias": (
        event("link", "alias", userId="ann", previousId="x"),
        "linked by an alias call with both",
    ),
    "merge": (
        event(
            "link",
            "merge",
            userId=None,
            mergeProperties=[
                {"type": "userId", "value": "ann"},
                {"type": "anonymousId", "value": "x"},
            ],
        ),
        "linked by a merge call with both",
    ),
}


@pytest.mark.parametrize("kind", RULES)
def test_the_profile_is_shown_with_the_rule_that_linked_it(admin_client, connection, kind):
    link, words = RULES[kind]
    loaded(connection, track("m1", event="Paid", userId="ann"), link)
    made = Event.objects.get(message_id="link")

    trace = trace_of(admin_client, "m1")

    assert "Matched by user_id ann." in trace
    assert words in trace
    assert f'<a class="rh-link" href="/admin/events/event/{made.pk}/change/">link</a>' in trace
    assert f"/admin/people/{connection.destination_id}/" in trace
    assert "this event" in trace_of(admin_client, "link")


def test_a_trait_that_identifies_is_named_as_the_rule(admin_client, connection):
    connection.destination.config["trait_identifiers"] = "email"
    connection.destination.save()
    loaded(connection, event("m1", "identify", userId="ann", traits={"email": "a@b.c"}))

    assert "linked by the trait identifier email of an identify event" in trace_of(
        admin_client, "m1"
    )


def test_a_profile_of_one_identifier_needs_no_link(admin_client, connection):
    loaded(connection, track("m1", event="Paid", userId="ann"))

    assert "the profile's only identifier" in trace_of(admin_client, "m1")


def test_the_trace_names_the_link_of_an_event_that_left_the_log(admin_client, connection):
    loaded(connection, event("link", "identify", **ANN), track("m1", event="P", userId="ann"))
    Event.objects.filter(message_id="link").delete()

    trace = trace_of(admin_client, "m1")
    assert ">link</code>" in trace
    assert "</span>, no longer in the log" in trace


def test_a_skipped_event_says_why_it_has_no_row(admin_client, connection):
    loaded(connection, track("m1", event="Paid", integrations={"All": False}))

    trace = trace_of(admin_client, "m1")

    assert ": skipped</strong>" in trace
    assert "its integrations turn POSTGRES off" in trace
    (row,) = admin_client.get("/admin/events/event/").context["cl"].result_list
    assert row.worst_state == ("skipped", "off")


def test_a_dead_letter_is_traced_to_its_rerun(admin_client, connection):
    loaded(connection, event("m1", "nonsense", userId="u1"))
    letter = DeadLetter.objects.get()

    trace = trace_of(admin_client, "m1")

    assert letter.reason.replace('"', "&quot;") in trace
    assert f'href="/admin/events/deadletter/{letter.pk}/rerun/one/"' in trace


def test_the_trace_shows_the_state_of_a_dead_letter(admin_client, connection):
    loaded(connection, event("m1", "nonsense", userId="u1"))
    DeadLetter.objects.update(state="discarded", closed_by="ada", note="our own test")

    discarded = trace_of(admin_client, "m1")
    DeadLetter.objects.update(state="loaded", attempts=2)

    assert ": discarded</strong>" in discarded
    assert "discarded by ada: our own test" in discarded
    assert "Loaded at attempt 2" in trace_of(admin_client, "m1")


def test_a_loaded_event_says_how_to_load_it_again(admin_client, connection):
    loaded(connection, track("m1", event="Paid"))

    trace = trace_of(admin_client, "m1")

    assert "To load this event again" in trace
    assert f"/admin/destinations/connection/{connection.pk}/replay/" in trace


def test_a_pending_event_can_be_loaded_at_once(admin_client, connection):
    send(connection, track("m1", event="Paid"))

    assert f'action="/admin/destinations/connection/{connection.pk}/load/"' in trace_of(
        admin_client, "m1"
    )


def test_a_warehouse_that_is_away_leaves_the_query(admin_client, connection):
    loaded(connection, track("m1", event="Paid"))
    connection.destination.config["port"] = 1
    connection.destination.save()

    trace = trace_of(admin_client, "m1")

    assert "no answer from the warehouse" in trace
    assert "WHERE id = &#x27;m1&#x27;;" in trace


def test_the_trace_hides_personal_data_without_the_permission(staff_client, connection):
    loaded(connection, track("m1", event="Paid", userId="ann", properties={"n": 1}))
    loaded(connection, track("m2", event="Paid", **ANN, properties={"n": "many"}))

    parts = trace_parts(staff_client("view_event", "view_destination"), "m2")

    text = " ".join(parts.values())
    assert "user_id •••" in text
    assert "<code>•••</code>" in text
    assert "ann" not in text
    assert "many" not in text


def test_the_trace_hides_the_warehouse_without_the_permission_to_view_destinations(
    staff_client, connection
):
    loaded(connection, track("m1", event="Paid"))

    trace = trace_of(staff_client("view_event"), "m1")

    assert ": loaded</strong>" in trace
    assert "SELECT" not in trace


def test_an_event_that_came_twice_names_the_other(admin_client, connection):
    loaded(connection, track("m1", event="Paid"), track("m2", event="Paid"))
    send(connection, track("m1", event="Paid"))
    first, again = Event.objects.filter(message_id="m1").order_by("pk")

    trace = " ".join(
        dict(admin_client.get(f"/admin/events/event/{first.pk}/change/").context["parts"])[
            "Trace"
        ].split()
    )

    assert f'href="/admin/events/event/{again.pk}/change/">event {again.pk}</a>' in trace
    assert "Its rows are written once" in trace
    assert "more than once" not in trace_of(admin_client, "m2")


def test_curl_contains_the_key_only_with_the_permission_to_change_sources(
    client, staff_client, connection
):
    key = make_write_key(connection.source)
    send(connection, track("m1", event="Paid"))

    client.force_login(make_admin())
    by_admin = trace_parts(client, "m1")["Send again"]
    by_reader = trace_parts(staff_client("view_event"), "m1")["Send again"]

    assert f"{key.key}:" in by_admin
    assert key.key not in by_reader
    assert "$WRITE_KEY:" in by_reader
