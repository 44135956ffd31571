"""What the pages of sources tell of their events, and the test event."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from events.log import counts, writer
from events.log.activity import source_activity
from events.log.database import log_connection
from events.models import Event, MinuteCount, SdkSeen
from events.workers import queue
from rudderhub.admin.base.sparkline import bars_path
from tests.support.factories import (
    make_connection,
    make_event,
    make_source,
    make_write_key,
)
from tests.support.http import html

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/sources/source/"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()
    yield
    writer.close_writer()
    queue.close_enqueuer()


def count():
    with log_connection() as conn:
        assert counts.advance_counts(conn)


def with_sdk(name, version):
    return json.dumps({"context": {"library": {"name": name, "version": version}}})


def refuse(source, **fields):
    given = {"route": "/v1/track", "status": 400, "reason": "r", "body": b"{", "body_bytes": 1}
    return source.quarantined.create(**given | fields)


def listed_activity(admin_client, source):
    """What the list says of a source."""
    (found,) = [
        each for each in admin_client.get(LIST).context["cl"].result_list if each.pk == source.pk
    ]
    return found.activity


def test_events_of_a_day_are_shown_by_hour_counted_or_not(admin_client):
    source, now = make_source(), timezone.now()
    make_event(source, received_at=now - timedelta(hours=2, minutes=30))
    make_event(source, received_at=now - timedelta(hours=25))
    count()
    make_event(source, received_at=now)
    make_event(make_source(), received_at=now)

    found = listed_activity(admin_client, source)

    assert found.accepted == 2
    assert (found.hours[21], found.hours[23]) == (1, 1)
    assert "events by hour, at most 1 per hour, 1 in the last hour" in html(admin_client.get(LIST))


def test_the_share_of_refused_requests_leads_to_them(admin_client):
    source = make_source()
    make_event(source)
    make_event(source)
    refuse(source, discarded_at=timezone.now())
    refuse(source, accepted_at=timezone.now())
    refuse(source, received_at=timezone.now() - timedelta(days=2))

    page = html(admin_client.get(LIST))
    (link,) = re.findall(r'href="(/admin/events/quarantined/[?]state[^"]*)"', page)

    assert "33.3 %" in page
    assert admin_client.get(unescape(link)).context["cl"].result_count == 1


def test_the_page_of_a_source_shows_where_its_events_go(admin_client):
    source = make_source()
    alone = html(admin_client.get(f"/admin/sources/source/{source.pk}/change/"))
    connection = make_connection(source, error="no route")
    make_event(source)

    fed = html(admin_client.get(f"/admin/sources/source/{source.pk}/change/"))

    assert "Connect it to a destination" in alone
    assert f"/admin/destinations/connection/{connection.pk}/change/" in fed
    assert f"→ {connection.destination}" in fed
    assert "failing" in fed
    assert f"connection/?source__id__exact={source.pk}" in html(admin_client.get(LIST))


def test_the_last_event_of_a_quiet_source_is_found_in_the_counts():
    quiet, at = make_source(), timezone.now() - timedelta(hours=5)
    make_event(quiet, received_at=at)
    make_event()
    count()

    activity = source_activity([quiet.pk], timezone.now(), window=1)

    assert activity[quiet.pk].last_at == at.replace(second=0, microsecond=0)


def test_a_source_that_never_sent_says_so(admin_client):
    make_source()

    assert "none yet" in html(admin_client.get(LIST))


def test_sdks_are_seen_once_the_log_is_counted(admin_client):
    source = make_source()
    first = make_event(source, payload=with_sdk("analytics-js", "3.0.0")).received_at
    last = make_event(source, payload=with_sdk("analytics-js", "3.0.0")).received_at
    make_event(source, payload=with_sdk("rudder-sdk-python", "2.1.9"))
    count()

    seen = SdkSeen.objects.get(name="analytics-js")

    assert (seen.source_id, seen.version, seen.first_at, seen.last_at) == (
        source.pk,
        "3.0.0",
        first,
        last,
    )
    assert "rudder-sdk-python 2.1.9 and 1 more" in html(admin_client.get(LIST))
    assert "analytics-js 3.0.0, last" in html(admin_client.get(f"{LIST}{source.pk}/change/"))


@pytest.mark.parametrize(
    "payload",
    [
        '{"context": "no object"}',
        '{"context": null}',
        '{"context": {"library": {"name": 7}}}',
        '{"context": {"library": ["a"]}}',
        '{"properties": {"library": {"name": "City"}}}',
        with_sdk("", "1"),
        "[]",
    ],
)
def test_libraries_that_are_no_sdk_are_ignored(payload):
    make_event(payload=payload)

    count()

    assert not SdkSeen.objects.exists()


def test_an_sdk_without_a_version_and_one_of_any_length_are_kept():
    make_event(payload='{"context": {"library": {"name": "own", "version": null}}}')
    make_event(payload=with_sdk("long\0" * 100, "v" * 1000))

    count()

    kept = set(SdkSeen.objects.values_list("name", "version"))
    assert kept == {("own", ""), ("long" * 15, "v" * 60)}


def test_however_many_sdks_are_named_the_newest_twenty_stay():
    source, now = make_source(), timezone.now()
    for number in range(25):
        at = now - timedelta(minutes=25 - number)
        make_event(source, received_at=at, payload=with_sdk("bot", str(number)))
    other = make_event(payload=with_sdk("bot", "1"))

    count()

    kept = SdkSeen.objects.filter(source_id=source.pk).order_by("last_at")
    assert [each.version for each in kept] == [str(number) for number in range(5, 25)]
    assert SdkSeen.objects.filter(source_id=other.source_id).count() == 1


def test_the_list_takes_the_same_queries_for_any_number_of_sources_and_events(admin_client):
    def queries():
        with CaptureQueriesContext(database) as asked:
            html(admin_client.get(LIST))
        return len(asked)

    make_event(make_source())
    few = queries()
    for _ in range(5):
        make_event(make_source())
    MinuteCount.objects.bulk_create(
        MinuteCount(source_id=1, minute=timezone.now() - timedelta(minutes=n), type="t", events=1)
        for n in range(100)
    )

    assert queries() == few


def test_a_test_event_takes_the_way_of_senders_to_its_trace(admin_client):
    key = make_write_key()

    answer = admin_client.post(f"{LIST}{key.source_id}/test/")

    event = Event.objects.get()
    assert answer.headers["Location"] == f"/admin/events/event/{event.pk}/change/"
    assert (event.source_id, event.type, event.event) == (key.source_id, "track", "Test Event")
    assert json.loads(event.payload)["request_ip"] == "127.0.0.1"
    assert "Accepted and stored" in html(admin_client.get(answer.headers["Location"]))
    assert LogEntry.objects.filter(change_message="Sent a test event.").count() == 1


def test_a_test_event_that_is_refused_shows_the_answer_of_senders(admin_client):
    source = make_write_key(make_source(enabled=False)).source

    page = html(admin_client.post(f"{LIST}{source.pk}/test/", follow=True))

    assert "Refused with 404" in page
    assert not Event.objects.exists()


def test_without_an_active_key_no_test_event_is_sent(admin_client):
    source = make_write_key(revoked_at=timezone.now()).source

    page = html(admin_client.post(f"{LIST}{source.pk}/test/", follow=True))

    assert "The source has no active write key" in page
    assert not Event.objects.exists()


def test_a_user_who_may_only_view_sends_no_test_event(staff_client):
    source = make_write_key().source
    client = staff_client("view_source")

    page = html(client.get(f"{LIST}{source.pk}/change/"))

    assert client.post(f"{LIST}{source.pk}/test/").status_code == 403
    assert "Send a test event" not in page
    assert not Event.objects.exists()


def test_a_test_event_is_not_sent_by_a_link(admin_client):
    source = make_write_key().source

    assert admin_client.get(f"{LIST}{source.pk}/test/").status_code == 405


def test_bars_reach_up_by_their_share_of_the_highest():
    assert bars_path([0, 1, 2]) == "M4 24v-12h3v12zM8 24v-24h3v24z"
    assert bars_path([0, 0]) == ""
    assert bars_path([1, 10_000]) == "M0 24v-1h3v1zM4 24v-24h3v24z"


@pytest.mark.parametrize(("hours", "longest"), [("1", 1), ("168", 168)])
def test_the_old_key_works_for_as_long_as_was_chosen(admin_client, hours, longest):
    old = make_write_key()
    url = f"{LIST}{old.source_id}/keys/{old.pk}/rotate/"

    asked = html(admin_client.get(url))
    with time_machine.travel(NOON, tick=False):
        admin_client.post(url, {"hours": hours})

    old.refresh_from_db()
    assert old.revoked_at == NOON + timedelta(hours=longest)
    assert '<option value="24" selected>24 hours</option>' in asked


@pytest.mark.parametrize("hours", ["", "0", "-1", "9999", "x"])
def test_a_key_is_rotated_with_an_offered_overlap_only(admin_client, hours):
    old = make_write_key()

    answer = admin_client.post(f"{LIST}{old.source_id}/keys/{old.pk}/rotate/", {"hours": hours})

    assert answer.status_code == 400
    assert old.source.write_keys.count() == 1


def test_the_sdks_of_a_deleted_source_are_forgotten():
    gone = make_event(payload=with_sdk("bot", "1")).source
    count()
    before = SdkSeen.objects.count()
    gone.delete()
    make_event(payload=with_sdk("bot", "2"))
    count()

    assert (before, [each.version for each in SdkSeen.objects.all()]) == (1, ["2"])


def test_deleting_a_source_counts_what_goes_with_it(admin_client):
    source = make_write_key().source
    make_connection(source)
    make_event(source)
    refuse(source)

    asked = admin_client.get(f"/admin/sources/source/{source.pk}/delete/")

    assert {name: count for name, count in asked.context["model_count"] if count} == {
        "sources": 1,
        "write keys": 1,
        "connections": 1,
        "refused requests": 1,
        "pending events": 1,
    }


def test_a_user_who_may_only_view_sees_no_actions(client):
    source = make_write_key().source
    viewer = User.objects.create_user("viewer", is_staff=True)
    codenames = ("view_source", "view_writekey", "view_connection")
    viewer.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    client.force_login(viewer)

    page = html(client.get(f"/admin/sources/source/{source.pk}/change/"))

    assert source.write_keys.get().key in page
    assert "none; its events stay in the log" in page
    assert not re.findall("Rotate|Revoke|Connect it|Send a test event|Add a write key", page)
