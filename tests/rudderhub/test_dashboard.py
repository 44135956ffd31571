from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from events import counting, log
from events.counting import BinCount
from events.models import Load
from rudderhub import dashboard
from rudderhub.chart import chart
from tests.factories import make_admin, make_connection, make_event, make_source

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def admin(client):
    client.force_login(make_admin())
    return client


def overview(admin, **query):
    response = admin.get("/admin/", query)
    assert response.status_code == 200
    return response.context


def test_received_is_accepted_and_refused(admin):
    source = make_source()
    make_event(source)
    make_event(source)
    source.quarantined.create(route="/v1/track", status=400, reason="r", body=b"{", body_bytes=1)

    seen = overview(admin)

    assert (seen["received"], seen["accepted"], seen["refused"]) == (3, 2, 1)


def test_the_overview_is_limited_to_a_range_and_a_source(admin):
    source = make_source()
    make_event(source)
    make_event(source, received_at=timezone.now() - timedelta(hours=3))
    make_event()

    assert overview(admin)["accepted"] == 2
    assert overview(admin, range="6h")["accepted"] == 3
    assert overview(admin, range="6h", source=source.pk)["accepted"] == 2


def test_the_ledger_of_the_overview_adds_up(admin):
    source = make_source()
    make_connection(source)
    make_event(source)
    make_event(source)

    (flow,) = overview(admin)["flows"]

    balance = flow.balance
    assert (balance.accepted, balance.pending, balance.difference) == (2, 2, 0)


def test_a_person_is_resolved_where_the_config_does_not_say_no(admin):
    connection = make_connection()
    Load.objects.create(
        connection=connection, after_id=0, upto_id=1, events=1, rows={"identifies": 1}
    )
    by_default = overview(admin)["ticks"][3].done
    connection.destination.config["resolve_identities"] = False
    connection.destination.save()

    assert (by_default, overview(admin)["ticks"][3].done) == (True, False)


@pytest.mark.parametrize("query", [{"range": "x"}, {"source": "x"}, {"source": "9" * 30}])
def test_a_strange_address_shows_the_usual_overview(admin, query):
    assert overview(admin, **query)["chosen"].name == "1h"


def test_bars_are_stacked_by_type():
    counts = [BinCount(NOON, "page", 3), BinCount(NOON, "track", 1), BinCount(NOON, "odd", 4)]

    drawn = chart(counts, NOON, MINUTE, 2)

    assert (drawn.peak, drawn.total) == (8, 8)
    assert [(block.y, block.height, block.shade) for block in drawn.blocks] == [
        (105, 15, 0),
        (60, 45, 1),
        (0, 60, 7),
    ]


@pytest.mark.django_db(transaction=True)
def test_counted_and_just_come_events_are_in_the_bins():
    source = make_source()
    make_event(source, received_at=NOON)
    make_event(source, received_at=NOON + timedelta(seconds=70))
    with log.connect() as conn:
        counting.advance(conn)
    make_event(source, received_at=NOON + timedelta(seconds=80), type="page")
    make_event(source, received_at=NOON - MINUTE)

    assert counting.by_bin(NOON, MINUTE, source.pk) == [
        (NOON, "track", 1),
        (NOON + MINUTE, "page", 1),
        (NOON + MINUTE, "track", 1),
    ]


def test_the_ledger_ends_with_sums_that_add_up(admin):
    source = make_source()
    make_connection(source)
    make_connection(source)
    make_event(source)
    make_event(source)

    seen = overview(admin)

    assert seen["sums"] == {
        **dict.fromkeys(("loaded", "dead_letters", "skipped", "lost", "difference"), 0),
        "accepted": 4,
        "pending": 4,
    }


def test_the_backlog_tells_since_when_events_wait(admin):
    connection = make_connection()
    make_event(connection.source, received_at=timezone.now() - timedelta(minutes=7))

    (flow,) = overview(admin)["flows"]

    assert (flow.balance.pending, flow.lag) == (1, "7\xa0minutes")
    assert "loading" in flow.state


def test_a_connection_that_waits_for_its_schedule_is_not_called_loading(admin):
    connection = make_connection(synced_at=timezone.now())
    connection.destination.config["syncFrequency"] = "30"
    connection.destination.save()
    make_event(connection.source)

    (flow,) = overview(admin)["flows"]

    assert "scheduled" in flow.state


def test_errors_that_say_the_same_are_one_with_their_number(admin):
    connection = make_connection()
    for number in range(3):
        connection.dead_letters.create(
            event_id=number, message_id="m", reason="no type", payload="{}"
        )
    connection.dead_letters.create(event_id=9, message_id="m", reason="no user", payload="{}")

    found = [(trouble.why, count) for trouble, count in overview(admin)["troubles"]]

    assert found == [("no user", 1), ("no type", 3)]


def test_connections_beyond_the_first_are_counted(admin, monkeypatch):
    monkeypatch.setattr(dashboard, "MOST_CONNECTIONS", 1)
    make_connection()
    make_connection()

    seen = overview(admin)

    assert (len(seen["flows"]), seen["others"]) == (1, 1)


def test_the_reason_of_a_dead_letter_hides_its_values_from_who_may_not_see_them(client, admin):
    make_connection().dead_letters.create(
        event_id=1, message_id="m", reason='"ann" is no user', kind="… is no user", payload="{}"
    )
    in_full = [trouble.why for trouble, _ in overview(admin)["troubles"]]
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_deadletter"))
    client.force_login(reader)

    hidden = [trouble.why for trouble, _ in overview(client)["troubles"]]

    assert (in_full, hidden) == (['"ann" is no user'], ["… is no user"])
