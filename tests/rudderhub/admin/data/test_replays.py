from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache

from destinations.models import Connection
from events.loads import replays
from events.log import reader
from events.log.database import log_connection
from events.models import Replay
from tests.support.factories import make_connection, make_event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connection():
    cache.clear()
    event = make_event(received_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    make_event(event.source, received_at=datetime(2026, 3, 2, 12, tzinfo=UTC))
    with log_connection() as conn:
        return make_connection(event.source, position=reader.barrier(conn))


BEGIN = {"since": "2026-03-02", "counted": "2026-03-02", "begin": "1"}


def page_of(connection):
    return f"/admin/destinations/connection/{connection.pk}/replay/"


@pytest.mark.parametrize(
    ("since", "count"), [("", 2), ("2026-03-02", 1), ("2026-03-01 12:00", 2), ("2026-03-03", 0)]
)
def test_the_events_are_counted_before_anything_is_done(admin_client, connection, since, count):
    page = admin_client.post(page_of(connection), {"since": since, "preview": "1"}).content.decode()

    assert f"<strong>{count} event{'s' * (count != 1)}</strong> would be loaded again" in page
    assert ("Replay them" in page) == (count > 0)
    assert not Replay.objects.exists()


def test_a_replay_begins_and_a_worker_is_queued(admin_client, connection):
    response = admin_client.post(page_of(connection), BEGIN)

    replay = Replay.objects.get()
    assert response["Location"] == f"/admin/events/replay/{replay.pk}/change/"
    assert (replay.expected, replay.since) == (1, datetime(2026, 3, 2, tzinfo=UTC))
    assert cache.get(f"queued:replay:{replay.pk}")


def test_the_audit_log_names_the_user_who_began_a_replay(admin_client, connection):
    admin_client.post(page_of(connection), BEGIN)

    assert LogEntry.objects.get().get_change_message() == (
        f"Began {Replay.objects.get()} from 2026-03-02 00:00:00 UTC."
    )


def test_a_time_that_was_not_counted_is_counted_first(admin_client, connection):
    changed = admin_client.post(page_of(connection), BEGIN | {"since": ""}).content.decode()
    unseen = admin_client.post(page_of(connection), {"since": "", "begin": "1"}).content.decode()

    assert "<strong>2 events</strong> would be loaded again" in changed
    assert "<strong>2 events</strong> would be loaded again" in unseen
    assert not Replay.objects.exists()


def test_the_trace_fills_in_the_time_of_its_event(admin_client, connection):
    page = admin_client.get(page_of(connection), {"since": "2026-03-01 12:00:00"}).content.decode()

    assert 'value="2026-03-01 12:00:00"' in page


def test_a_paused_connection_says_that_its_replay_will_wait(admin_client, connection):
    running = admin_client.get(page_of(connection)).content.decode()
    Connection.objects.update(enabled=False)

    assert "waits until both are enabled" not in running
    assert "waits until both are enabled" in admin_client.get(page_of(connection)).content.decode()


def test_a_log_that_does_not_answer_in_time_is_reported_as_slow(admin_client, connection):
    with log_connection() as other, other.transaction():
        other.execute("LOCK TABLE events_event IN ACCESS EXCLUSIVE MODE")
        page = admin_client.post(
            page_of(connection), {"since": "", "preview": "1"}
        ).content.decode()

    assert "no first event found within 5 seconds" in page
    assert "Count the events" in page


def test_an_invalid_time_is_rejected(admin_client, connection):
    page = admin_client.post(page_of(connection), {"since": "soon", "begin": "1"}).content.decode()

    assert "Enter a time like" in page
    assert not Replay.objects.exists()


def test_a_running_replay_is_shown_in_place_of_the_form(admin_client, connection):
    replays.begin_replay(connection, None)

    page = admin_client.get(page_of(connection)).content.decode()

    assert "A replay is running." in page
    assert "Count the events" not in page


def test_progress_is_shown_and_it_can_be_cancelled(admin_client, connection):
    replay = replays.begin_replay(connection, None)
    shown = admin_client.get(f"/admin/events/replay/{replay.pk}/change/").content.decode()

    admin_client.post(f"/admin/events/replay/{replay.pk}/cancel/")

    replay.refresh_from_db()
    assert '<progress max="100" value="0">' in shown
    assert "Cancel the replay" in shown
    assert replay.state == "cancelled"


def test_replays_require_the_permission_to_change_connections(staff_client, connection):
    client = staff_client()
    replay = replays.begin_replay(connection, None)

    assert client.get(page_of(connection)).status_code == 403
    assert client.post(f"/admin/events/replay/{replay.pk}/cancel/").status_code == 403
