from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from events.models import Load
from events.tasks import load_connection
from tests.support.connections import send
from tests.support.events import track
from tests.support.factories import make_admin
from tests.support.warehouse import rows

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hourly(connection):
    cache.clear()
    connection.destination.config["syncFrequency"] = 60
    connection.destination.save()
    return connection


def loaded(warehouse):
    return [row[0] for row in rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id")]


def let_pass(connection, minutes):
    connection.refresh_from_db()
    connection.synced_at -= timedelta(minutes=minutes)
    connection.save()


def test_events_wait_until_the_next_sync(hourly, warehouse):
    send(hourly, track("m1", event="A"))
    load_connection(hourly.pk)
    send(hourly, track("m2", event="A"))
    load_connection(hourly.pk)
    before = loaded(warehouse)
    let_pass(hourly, minutes=61)

    load_connection(hourly.pk)

    assert before == ["m1"]
    assert loaded(warehouse) == ["m1", "m2"]


def test_an_hour_without_events_uses_up_no_sync(hourly, warehouse):
    send(hourly, track("m1", event="A"))
    load_connection(hourly.pk)
    let_pass(hourly, minutes=61)
    load_connection(hourly.pk)
    send(hourly, track("m2", event="A"))

    load_connection(hourly.pk)

    assert loaded(warehouse) == ["m1", "m2"]


def test_a_failed_sync_is_retried_before_the_next_one_is_due(hourly, warehouse):
    destination, port = hourly.destination, hourly.destination.config["port"]
    destination.config["port"] = 1
    destination.save()
    send(hourly, track("m1", event="A"))
    load_connection(hourly.pk)
    destination.config["port"] = port
    destination.save()
    hourly.refresh_from_db()
    hourly.retry_at = timezone.now()
    hourly.save()

    load_connection(hourly.pk)

    assert loaded(warehouse) == ["m1"]


def test_load_now_overrides_the_schedule(hourly, warehouse, client):
    client.force_login(make_admin())
    send(hourly, track("m1", event="A"))
    load_connection(hourly.pk)
    send(hourly, track("m2", event="A"))
    hourly.refresh_from_db()
    page = f"/admin/destinations/connection/{hourly.pk}"
    waiting = client.get(f"{page}/change/").content.decode()
    client.post(f"{page}/load/")

    load_connection(hourly.pk)

    assert "scheduled" in waiting
    assert loaded(warehouse) == ["m1", "m2"]


def test_nothing_is_loaded_in_the_exclude_window(connection, warehouse):
    now = timezone.now()
    connection.destination.config |= {
        "excludeWindowStartTime": f"{now - timedelta(hours=1):%H:%M}",
        "excludeWindowEndTime": f"{now + timedelta(hours=1):%H:%M}",
    }
    connection.destination.save()
    send(connection, track("m1", event="A"))

    load_connection(connection.pk)

    assert not Load.objects.exists()


def test_a_schedule_that_cannot_be_read_is_shown(connection):
    connection.destination.config["syncFrequency"] = "often"
    connection.destination.save()
    send(connection, track("m1", event="A"))

    load_connection(connection.pk)

    connection.refresh_from_db()
    assert "syncFrequency is 'often'" in connection.error
    assert connection.failures == 1
