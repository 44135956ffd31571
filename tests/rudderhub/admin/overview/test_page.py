from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from events.log import counts as log_counts
from events.log.counts import BinCount
from events.log.database import log_connection
from events.models import Load
from rudderhub.admin.overview import page
from rudderhub.admin.overview.chart import chart
from tests.support.factories import (
    make_connection,
    make_event,
    make_source,
    make_write_key,
)

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def overview(admin_client, **query):
    response = admin_client.get("/admin/", query)
    assert response.status_code == 200
    return response.context


def test_received_is_accepted_and_refused(admin_client):
    source = make_source()
    make_event(source)
    make_event(source)
    source.quarantined.create(route="/v1/track", status=400, reason="r", body=b"{", body_bytes=1)

    seen = overview(admin_client)

    assert (seen["received"], seen["accepted"], seen["refused"]) == (3, 2, 1)


def test_the_overview_is_limited_to_a_range_and_a_source(admin_client):
    source = make_source()
    make_event(source)
    make_event(source, received_at=timezone.now() - timedelta(hours=3))
    make_event()

    assert overview(admin_client)["accepted"] == 2
    assert overview(admin_client, range="6h")["accepted"] == 3
    assert overview(admin_client, range="6h", source=source.pk)["accepted"] == 2


def test_the_ledger_of_the_overview_adds_up(admin_client):
    source = make_source()
    make_connection(source)
    make_event(source)
    make_event(source)

    (flow,) = overview(admin_client)["flows"]

    balance = flow.balance
    assert (balance.accepted, balance.pending, balance.difference) == (2, 2, 0)


def test_identities_are_resolved_unless_the_config_turns_it_off(admin_client):
    connection = make_connection()
    Load.objects.create(
        connection=connection, after_id=0, upto_id=1, events=1, rows={"identifies": 1}
    )
    by_default = overview(admin_client)["first_steps"][3].done
    connection.destination.config["resolve_identities"] = False
    connection.destination.save()

    assert (by_default, overview(admin_client)["first_steps"][3].done) == (True, False)


@pytest.mark.parametrize("query", [{"range": "x"}, {"source": "x"}, {"source": "9" * 30}])
def test_a_strange_address_shows_the_usual_overview(admin_client, query):
    assert overview(admin_client, **query)["chosen"].name == "1h"


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
    with log_connection() as conn:
        log_counts.advance_counts(conn)
    make_event(source, received_at=NOON + timedelta(seconds=80), type="page")
    make_event(source, received_at=NOON - MINUTE)

    assert log_counts.counts_by_bin(NOON, MINUTE, source.pk) == [
        (NOON, "track", 1),
        (NOON + MINUTE, "page", 1),
        (NOON + MINUTE, "track", 1),
    ]


def test_the_ledger_ends_with_sums_that_add_up(admin_client):
    source = make_source()
    make_connection(source)
    make_connection(source)
    make_event(source)
    make_event(source)

    seen = overview(admin_client)

    assert seen["sums"] == {
        **dict.fromkeys(("loaded", "dead_letters", "skipped", "lost", "difference"), 0),
        "accepted": 4,
        "pending": 4,
    }


def test_the_backlog_shows_since_when_events_wait(admin_client):
    waiting_connection(7)

    (flow,) = overview(admin_client)["flows"]

    assert (flow.balance.pending, flow.lag) == (1, "7\xa0minutes")


def test_a_connection_that_waits_for_its_schedule_is_not_called_loading(admin_client):
    connection = make_connection(synced_at=timezone.now())
    connection.destination.config["syncFrequency"] = "30"
    connection.destination.save()
    make_event(connection.source)

    (flow,) = overview(admin_client)["flows"]

    assert "scheduled" in flow.state


def ago(minutes):
    return timezone.now() - timedelta(minutes=minutes)


def waiting_connection(minutes, made=60, loaded=60):
    """Its event came so many minutes ago; so long ago it was made, and loaded last."""
    connection = make_connection(created_at=ago(made), last_loaded_at=ago(loaded))
    make_event(connection.source, received_at=ago(minutes))
    return connection


def test_events_that_no_worker_loads_are_a_fault(admin_client):
    waiting_connection(7)
    waiting_connection(6)

    seen = overview(admin_client)

    assert ["not being loaded" in flow.state for flow in seen["flows"]] == [True, True]
    ((problem, count),) = seen["problems"]
    assert (problem.what, count) == ("Events are waiting and no worker loads them", 2)
    assert problem.url == "/admin/system/"


@pytest.mark.parametrize(
    "minutes",
    [{"minutes": 4}, {"minutes": 7, "loaded": 1}, {"minutes": 7, "made": 0}],
    ids=["just come", "being loaded", "just made"],
)
def test_events_that_wait_for_a_little_are_no_fault(admin_client, minutes):
    waiting_connection(**minutes)

    seen = overview(admin_client)

    assert "loading" in seen["flows"][0].state
    assert seen["problems"] == []


def test_equal_errors_are_shown_once_with_their_number(admin_client):
    connection = make_connection()
    for number in range(3):
        connection.dead_letters.create(
            event_id=number, message_id="m", reason="no type", payload="{}"
        )
    connection.dead_letters.create(event_id=9, message_id="m", reason="no user", payload="{}")

    reasons = [(problem.why, count) for problem, count in overview(admin_client)["problems"]]

    assert reasons == [("no user", 1), ("no type", 3)]


def test_connections_beyond_the_first_are_counted(admin_client):
    make_connections(page.MOST_CONNECTIONS + 1)

    seen = overview(admin_client)

    assert (len(seen["flows"]), seen["others"]) == (page.MOST_CONNECTIONS, 1)


def make_connections(number):
    source = make_source()
    return [make_connection(source) for _ in range(number)]


def test_reasons_are_shown_without_the_values_in_them(admin_client):
    make_connection().dead_letters.create(
        event_id=1, message_id="m", reason='"ann" is no user', kind="… is no user", payload="{}"
    )
    refuse(make_source(), reason="type is 'ann'")

    reasons = [problem.why for problem, _ in overview(admin_client)["problems"]]

    assert reasons == ["… is no user", "type is …"]


def refuse(source, **fields):
    defaults = {"route": "/v1/track", "status": 400, "reason": "r", "body": b"{", "body_bytes": 1}
    return source.quarantined.create(**defaults | fields)


def test_the_refused_lead_to_a_list_of_just_them(admin_client):
    source = make_source()
    refuse(source)
    refuse(source, discarded_at=timezone.now())
    refuse(source, accepted_at=timezone.now())
    refuse(source, received_at=timezone.now() - timedelta(hours=3))
    refuse(make_source())

    seen = overview(admin_client, range="1h", source=source.pk)
    listed = admin_client.get(f"/admin/events/quarantined/?{seen['refused_query']}")

    assert (seen["refused"], listed.context["cl"].result_count) == (2, 2)


def test_errors_are_those_of_the_chosen_source(admin_client):
    one = make_connection(make_source(name="Shop"), error="no route")
    other = make_connection(make_source(name="Blog"), error="no room")
    for connection in (one, other):
        refuse(connection.source, reason=f"refused of {connection.source}")
        connection.dead_letters.create(
            event_id=1, message_id="m", reason=f"dead of {connection.source}", payload="{}"
        )

    reasons = [
        problem.why for problem, _ in overview(admin_client, source=one.source_id)["problems"]
    ]

    assert reasons == ["no route", "dead of Shop", "refused of Shop"]


def test_a_failing_connection_is_shown_however_many_connections_exist(admin_client):
    make_connections(page.MOST_CONNECTIONS)
    make_connection(error="no route")

    assert [problem.why for problem, _ in overview(admin_client)["problems"]] == ["no route"]


def test_disabled_connections_are_not_shown_as_failing(admin_client):
    make_connection(enabled=False, error="no route")
    off = make_connection(error="no route")
    off.destination.enabled = False
    off.destination.save()

    assert overview(admin_client)["problems"] == []


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (413, "Request size too large: 40000 bytes", "raise the size limit"),
        (400, "Invalid request: origin is not allowed", "allowed origins"),
        (400, "Invalid JSON: invalid json at character 3", "JSON is not valid"),
        (400, "Invalid request: event is missing or blank", "Fix the sender"),
    ],
)
def test_a_refusal_says_what_to_do(admin_client, status, reason, words):
    refuse(make_source(), status=status, reason=reason)

    ((problem, _),) = overview(admin_client)["problems"]

    assert words in problem.advice


@pytest.mark.django_db(transaction=True)
def test_a_long_range_counts_hours_that_were_folded_whole(admin_client):
    edge = (timezone.now() - timedelta(days=7)).replace(minute=0, second=0, microsecond=0)
    make_event(received_at=edge)
    make_event(received_at=edge + timedelta(minutes=59))
    make_event(received_at=edge - timedelta(minutes=1))
    with log_connection() as conn:
        log_counts.advance_counts(conn)
        log_counts.fold_old_minutes(conn, timezone.now())

    assert overview(admin_client, range="7d")["accepted"] == 2


def test_discards_are_those_of_the_loads_that_the_ledger_counts(admin_client):
    connection = make_connection()
    for after, discards in ((0, 1), (5, 20), (9, 300)):
        Load.objects.create(
            connection=connection, after_id=after, upto_id=after + 4, discards=discards
        )
    hour = timezone.now() - timedelta(hours=1, minutes=5)
    connection.standings.create(at=hour, position=0, is_start=True, accepted=0)
    connection.standings.create(at=hour, position=5, accepted=5)

    assert overview(admin_client)["discards"] == 321
    assert overview(admin_client, range="1h")["discards"] == 320


def test_a_first_event_is_ready_to_paste_until_a_person_is_resolved(admin_client):
    key = make_write_key()
    before = overview(admin_client)["first_command"]
    make_event(key.source)
    connection = make_connection(key.source)
    Load.objects.create(connection=connection, after_id=0, upto_id=1, events=1, rows={"tracks": 1})

    after = overview(admin_client)

    assert before.source == key.source
    assert f"-u '{key.key}:'" in before.code
    assert [step.done for step in after["first_steps"]] == [True] * 4
    assert after["first_command"] is None


def test_a_key_that_sends_nothing_is_not_offered_to_paste(admin_client):
    make_write_key(make_source(enabled=False))
    make_write_key(revoked_at=timezone.now())

    assert overview(admin_client)["first_command"] is None


def test_the_overview_hides_keys_without_the_permission_to_change_sources(staff_client):
    make_write_key()
    client = staff_client("view_source")

    assert overview(client)["first_command"] is None


def test_the_next_steps_depend_on_what_is_set_up(admin_client):
    def steps():
        return [step.next_step for step in overview(admin_client)["first_steps"] if not step.done][
            -2:
        ]

    nothing = steps()
    connection = make_connection()
    no_event = steps()
    make_event(connection.source)
    connection.destination.config["resolve_identities"] = False
    connection.destination.save()

    assert nothing == [
        "Connect a source to a destination.",
        "Appears with the first row of an event that has a user id.",
    ]
    assert no_event[0] == "Appears automatically, seconds after the first event."
    assert steps() == [
        "Appears within seconds. If not, the connection shows why.",
        "Turn on identity resolution in a destination.",
    ]
