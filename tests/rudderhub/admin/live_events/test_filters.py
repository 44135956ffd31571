from __future__ import annotations

import json
import subprocess
import sys
from urllib.parse import urlencode

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry

from events.models import Event, LetterState
from rudderhub.admin.live_events.event_list import MOST_PARTS, PART
from rudderhub.admin.live_events.events import EventAdmin
from tests.support.factories import (
    make_admin,
    make_connection,
    make_destination,
    make_event,
    make_events,
    make_source,
    make_write_key,
)
from tests.support.http import html

pytestmark = pytest.mark.django_db

EVENTS = "/admin/events/event/"


def listed_events(admin_client, **query):
    """The message ids and states of a page of live events."""
    response = admin_client.get(EVENTS, query)
    assert response.status_code == 200
    rows = response.context["cl"].result_list
    return [(event.message_id, event.worst_state[0]) for event in rows]


def payload(**fields):
    return json.dumps({"type": "track", "event": "Paid", "userId": "ann", **fields})


@pytest.fixture
def every_state(admin_client):
    """Events of a source with two connections, one of which has come less far."""
    source = make_source()
    names = ("dead", "given up", "left out", "through", "half way")
    left_out = payload(integrations={"All": False})
    events = [
        make_event(source, message_id=name, payload=left_out if name == "left out" else payload())
        for name in names
    ]
    fast = make_connection(source, make_destination(), position=events[-1].pk)
    make_connection(source, make_destination(), position=events[-2].pk)
    for event, state in zip(events, (LetterState.OPEN, LetterState.DISCARDED), strict=False):
        for connection in source.connections.all() if state == "discarded" else [fast]:
            connection.dead_letters.create(
                event_id=event.pk, message_id="m", reason="r", payload="{}", state=state
            )
    make_event(message_id="alone")
    return admin_client


@pytest.mark.parametrize(
    ("status", "found"),
    [
        ("pending", ["half way"]),
        ("loaded", ["through"]),
        ("skipped", ["left out"]),
        ("dead letter", ["dead"]),
        ("discarded", ["given up"]),
        ("no connection", ["alone"]),
        ("strange", []),
    ],
)
def test_a_status_is_filtered_as_it_is_shown(every_state, status, found):
    assert listed_events(every_state, status=status) == [(name, status) for name in found]


def test_every_event_is_found_by_one_status(every_state):
    shown = listed_events(every_state)

    assert sorted(shown) == sorted(
        each
        for status in {state for _, state in shown}
        for each in listed_events(every_state, status=status)
    )


def test_the_list_of_a_rare_status_continues_with_older_events(admin_client):
    source = make_source()
    make_event(source, message_id="left out", payload=payload(integrations={"All": False}))
    events = make_events(PART * MOST_PARTS, source, payload=payload())
    make_connection(source, position=events[-1].pk)

    newest = admin_client.get(EVENTS, {"status": "skipped"}).context["cl"]

    assert (newest.result_count, newest.searched_from) == (0, events[0].pk)
    assert listed_events(admin_client, status="skipped", before=events[0].pk) == [
        ("left out", "skipped")
    ]
    assert f"before={events[0].pk}" in newest.older_url


@pytest.mark.parametrize(
    "term",
    [
        'say "hi"',
        "SAY",
        "spring",
        "42",
        '"total": 42',
        "back\\slash",
        "zoë",
        "ZOË",
        "🦊",
        "two\nlines",
    ],
)
def test_any_text_of_an_event_finds_it_in_any_case(admin_client, term):
    properties = {"a": 'say "hi"', "b": "SPRING", "total": 42, "c": "back\\slash"}
    stored = json.dumps(
        {"properties": {**properties, "d": "Zoë 🦊", "e": "two\nlines"}},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    make_event(message_id="found", payload=stored)
    make_event(message_id="other")

    assert [name for name, _ in listed_events(admin_client, q=term)] == ["found"]


@pytest.mark.parametrize("source", ["abc", "9" * 30, "-1"])
def test_an_invalid_source_filter_matches_no_event(admin_client, source):
    make_event()

    assert listed_events(admin_client, source=source) == []


def test_the_filter_for_refused_requests_of_a_source_leads_to_the_quarantine(admin_client):
    answer = admin_client.get(EVENTS, {"status": "refused", "source": "7", "q": "x y"})

    query = urlencode({"q": "x y", "source__id__exact": "7"})
    assert answer["Location"] == f"/admin/events/quarantined/?{query}"


ODD = {"text": 'it\'s "odd" $HOME `id` \\n !x ü 🦊 %s', "end": "'"}


def test_the_line_for_a_shell_gives_the_event_unchanged(admin_client):
    key = make_write_key()
    event = make_event(key.source, payload=json.dumps(ODD, ensure_ascii=False))

    line = html(admin_client.get(f"{EVENTS}{event.pk}/curl/"))
    tell = (
        f"curl() {{ {sys.executable} -c 'import json, sys; print(json.dumps(sys.argv))' \"$@\"; }}"
    )
    ran = subprocess.run(  # noqa: S603
        ["/bin/sh", "-c", f"{tell}\n{line}"], capture_output=True, text=True, check=True
    )

    given = json.loads(ran.stdout)
    assert given[-1] == json.dumps({"batch": [ODD]}, ensure_ascii=False)
    assert f"{key.key}:" in given
    assert LogEntry.objects.count() == 1


def test_the_line_of_a_long_event_is_no_argument_too_long_for_a_shell(admin_client):
    event = make_event(payload=json.dumps({"text": "x" * 200_000}))

    line = html(admin_client.get(f"{EVENTS}{event.pk}/curl/"))
    script = f"curl() {{ cat; }}\n{line}\n"
    ran = subprocess.run(["/bin/sh"], input=script, capture_output=True, text=True, check=True)

    assert json.loads(ran.stdout) == {"batch": [{"text": "x" * 200_000}]}


def test_the_line_for_a_shell_hides_what_its_reader_may_not_see(staff_client):
    event = make_event(make_write_key().source, payload='{"userId": "ann"}')
    client = staff_client("view_event")

    line = html(client.get(f"{EVENTS}{event.pk}/curl/"))

    assert "ann" not in line
    assert "$WRITE_KEY" in line


@pytest.mark.parametrize("view", ["curl", "state"])
def test_events_and_states_require_the_permission_to_view_events(staff_client, view):
    event = make_event()
    client = staff_client()

    assert client.get(f"{EVENTS}{event.pk}/{view}/").status_code == 403


def test_the_trace_follows_until_a_state_changes(admin_client):
    event = make_event(payload=payload())
    connection = make_connection(event.source)
    trace = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))
    seen = {"seen": f"{connection.pk}:pending"}

    waiting = html(admin_client.get(f"{EVENTS}{event.pk}/state/", seen))
    connection.position = event.pk
    connection.save()
    over = html(admin_client.get(f"{EVENTS}{event.pk}/state/", seen))

    assert f'data-live-url="{EVENTS}{event.pk}/state/?{urlencode(seen)}"' in trace
    assert f"Waiting for {connection.destination}" in waiting
    assert over == ""
    assert "data-live" not in html(admin_client.get(f"{EVENTS}{event.pk}/change/"))


def test_a_query_for_states_is_not_logged_as_a_view_of_personal_data(admin_client):
    event = make_event()

    admin_client.get(f"{EVENTS}{event.pk}/state/")

    assert not LogEntry.objects.exists()


def test_a_pending_event_says_what_to_do_about_the_last_error(admin_client):
    event = make_event()
    make_connection(event.source, error="connection refused")

    trace = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))

    assert "The last load failed: connection refused. No server listens there" in trace


class HurriedAdmin(EventAdmin):
    warehouse_seconds = 0.0


def test_a_warehouse_is_not_queried_after_others_took_too_long(rf):
    event = make_event(payload=payload())
    connection = make_connection(event.source, position=event.pk)
    request = rf.get(f"{EVENTS}{event.pk}/change/")
    request.user = make_admin()

    trace = html(HurriedAdmin(Event, site).change_view(request, str(event.pk)).render())

    assert "This warehouse was not queried" in trace
    assert f"{EVENTS}{event.pk}/in/{connection.pk}/" in trace


def test_the_trace_of_a_skipped_event_does_not_claim_that_it_has_no_identifier(admin_client):
    event = make_event(payload=payload(integrations={"All": False}))
    make_connection(event.source, position=event.pk)

    trace = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))

    assert "turn POSTGRES off" in trace
    assert "The event has no identifier" not in trace


def test_the_trace_leads_to_its_source_until_that_is_deleted(admin_client):
    event = make_event()
    link = f"/admin/sources/source/{event.source_id}/change/"
    with_source = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))
    event.source.delete()
    without = html(admin_client.get(f"{EVENTS}{event.pk}/change/"))

    assert link in with_source
    assert link not in without
    assert "The source and its connections were deleted" in without
    assert "Connect it" not in without
