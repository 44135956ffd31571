"""Destinations by name, their secrets, and the waits of work that is retried."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import connection as database
from django.utils import timezone

from destinations.interface import DestinationError
from destinations.models import Destination
from tests.support.factories import make_connection, make_destination

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_a_destination_is_found_by_its_id_its_name_and_its_number():
    destination = make_destination(name="Warehouse")

    assert Destination.named(destination.public_id) == destination
    assert Destination.named("Warehouse") == destination
    assert Destination.named(str(destination.pk)) == destination


def test_a_name_counts_before_a_number():
    one = make_destination(name="One")
    other = make_destination(name=str(one.pk))

    assert Destination.named(str(one.pk)) == other


@pytest.mark.parametrize(("names", "count"), [([], 0), (["Mine", "Mine"], 2)])
def test_a_name_of_no_or_several_destinations_is_an_error(names, count):
    destinations = [make_destination(name=name) for name in names]
    known = ", ".join(f"{destination.public_id} (Mine)" for destination in destinations) or "none"

    with pytest.raises(DestinationError) as error:
        Destination.named("Mine")

    assert str(error.value) == f"{count} destinations are called 'Mine', expected one of: {known}"


def test_a_destination_is_in_use_once_with_several_enabled_connections():
    used, disabled, unconnected = (make_destination() for _ in range(3))
    make_connection(destination=used)
    make_connection(destination=used)
    make_connection(destination=used, enabled=False)
    make_connection(destination=disabled, enabled=False)

    assert list(Destination.in_use()) == [used]
    assert not unconnected.connections.exists()


def test_secrets_are_stored_encrypted_and_left_out_of_a_dump():
    destination = make_destination(secrets={"password": "correct horse"})

    with database.cursor() as cursor:
        cursor.execute("SELECT secrets FROM destinations_destination")
        (stored,) = cursor.fetchone()

    assert b"correct horse" not in bytes(stored)
    assert Destination.objects.get().secrets == {"password": "correct horse"}
    assert "correct horse" not in serializers.serialize("json", [destination])


def test_secrets_need_a_key(settings):
    settings.ENCRYPTION_KEYS = []

    with pytest.raises(ImproperlyConfigured, match="RUDDERHUB_ENCRYPTION_KEYS is not set"):
        make_destination(secrets={"password": "correct horse"})


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 2), (1, 4), (7, 256), (8, 300), (2_000_000, 300)]
)
def test_the_wait_doubles_with_each_failure_up_to_five_minutes(monkeypatch, failures, seconds):
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    connection = make_connection(failures=failures)

    connection.save_failure("no answer")
    connection.refresh_from_db()

    assert connection.retry_at == NOON + timedelta(seconds=seconds)
    assert (connection.failures, connection.error) == (failures + 1, "no answer")
    assert connection.is_waiting(NOON)
    assert not connection.is_waiting(connection.retry_at)


def test_a_success_ends_the_waits_and_saves_no_other_field():
    connection = make_connection(failures=3, retry_at=NOON, error="no answer")
    connection.namespace = "unsaved"

    connection.save_success(position=7)
    connection.refresh_from_db()

    assert (connection.failures, connection.retry_at, connection.error) == (0, None, "")
    assert (connection.position, connection.namespace) == (7, "")
