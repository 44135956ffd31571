from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from destinations.models import Start
from events.loads import ledger
from events.loads.run import run_load
from events.log import counts, retention
from events.log.database import log_connection
from events.management.commands.ledger import COLUMNS
from events.models import (
    Event,
    LetterState,
    Load,
    Loss,
    MinuteCount,
    Quarantined,
    Standing,
)
from events.tasks import count_log, maintain_log
from sources.models import OnInvalidEvent
from tests.support.connections import send
from tests.support.events import NOW, event, track
from tests.support.factories import (
    make_admin,
    make_connection,
    make_destination,
    make_source,
    make_write_key,
)
from tests.support.http import basic_token

pytestmark = pytest.mark.django_db(transaction=True)


def numbers(connection, since=None):
    (balance,) = ledger.balances([connection], since)
    names = ("accepted", "loaded", "dead_letters", "skipped", "lost", "pending", "difference")
    return {name: value for name in names if (value := getattr(balance, name))}


def count(**options):
    with log_connection() as conn:
        return counts.advance_counts(conn, **options)


def ledger_command(**options):
    out = StringIO()
    call_command("ledger", stdout=out, **options)
    return out.getvalue()


def test_accepted_events_are_pending_until_they_are_loaded(connection):
    send(connection, track("m1"), track("m2"))
    before = numbers(connection)

    run_load(connection)

    assert before == {"accepted": 2, "pending": 2}
    assert numbers(connection) == {"accepted": 2, "loaded": 2}


def test_counting_twice_counts_once(connection):
    send(connection, track("m1"), event("m2", "identify", userId="u1"))

    assert count()
    assert count()

    assert sorted(MinuteCount.objects.values_list("type", "events")) == [
        ("identify", 1),
        ("track", 1),
    ]


def test_each_source_has_counts_of_its_own(connection):
    other = make_connection(make_source(), make_destination())
    send(connection, *(track(f"a{n}") for n in range(5)))
    send(other, *(track(f"b{n}") for n in range(4)))
    count(step=3)
    send(connection, track("a5"))

    assert numbers(connection) == {"accepted": 6, "pending": 6}
    assert numbers(other) == {"accepted": 4, "pending": 4}


def test_a_connection_that_starts_now_answers_for_no_earlier_event(connection):
    send(connection, track("m1"), track("m2"))
    later = make_connection(connection.source, make_destination(), start=Start.NOW)
    send(connection, track("m3"))

    assert numbers(later) == {"accepted": 1, "pending": 1}


def test_the_ledger_is_kept_by_time(connection):
    send(connection, track("m1"))
    run_load(connection)
    Standing.objects.filter(is_start=False).update(at=timezone.now() - timedelta(hours=2))
    send(connection, track("m2"), track("m3"))
    run_load(connection)

    hour = timezone.now() - timedelta(hours=1)

    assert numbers(connection, hour) == {"accepted": 2, "loaded": 2}
    assert numbers(connection) == {"accepted": 3, "loaded": 3}


def test_events_that_retention_dropped_are_lost_in_the_ledger(connection):
    old = timezone.now() - timedelta(days=40)
    send(connection, track("old"), received_at=old)
    send(connection, track("new"), received_at=timezone.now())
    count()
    connection.enabled = False
    connection.save()
    with log_connection() as conn:
        retention.drop_due_days(conn, retention.Limits(days=30), timezone.now())
    behind = numbers(connection)

    run_load(connection)

    assert Loss.objects.get().events == 1
    assert behind == {"accepted": 2, "lost": 1, "pending": 1}
    assert numbers(connection) == {"accepted": 2, "loaded": 1, "lost": 1}


def test_a_connection_created_after_a_drop_accounts_only_for_the_events_kept(connection):
    send(connection, track("old"), received_at=timezone.now() - timedelta(days=40))
    send(connection, track("new"), received_at=timezone.now())
    run_load(connection)
    maintain_log()
    late = make_connection(connection.source, make_destination())

    assert numbers(late) == {"accepted": 1, "pending": 1}
    assert numbers(connection) == {"accepted": 2, "loaded": 2}


def test_folded_minutes_keep_their_sums(connection):
    old = timezone.now() - timedelta(days=40)
    for minutes in range(3):
        send(
            connection,
            track(f"m{minutes}"),
            received_at=old + timedelta(minutes=minutes),
        )
    count()

    with log_connection() as conn:
        counts.fold_old_minutes(conn, timezone.now())

    assert sum(MinuteCount.objects.values_list("events", flat=True)) == 3
    assert MinuteCount.objects.count() <= 2


def test_the_task_stores_the_accepted_events_up_to_each_cursor(connection):
    send(connection, track("m1"), track("m2"))
    run_load(connection)

    count_log()

    assert Standing.objects.get(is_start=False).accepted == 2


def test_an_event_that_nobody_accounts_for_is_found(connection, warehouse):
    send(connection, track("m1"), track("m2"))
    run_load(connection)
    warehouse.execute("UPDATE rudder_identity.rudder_cursors SET loaded = 1")
    Standing.objects.filter(is_start=False).update(position=1)

    with pytest.raises(CommandError, match="does not add up"):
        ledger_command()


def test_a_warehouse_that_is_away_leaves_the_counts_of_the_last_load(connection):
    send(connection, track("m1"))
    run_load(connection)
    connection.destination.config["port"] = 1
    connection.destination.save()

    assert "as of its last load" in ledger_command()


def test_the_ledger_of_a_recreated_warehouse_adds_up(connection, warehouse):
    send(connection, track("m1"))
    run_load(connection)
    warehouse.execute("DROP SCHEMA rudder_identity CASCADE")
    warehouse.execute("DROP SCHEMA shop CASCADE")
    send(connection, track("m2"))

    run_load(connection)

    assert numbers(connection) == {"accepted": 2, "loaded": 2}


@pytest.fixture
def every_outcome(connection, client):
    """Through HTTP: refused, loaded, a discarded value, dead letter, skipped, lost, pending.

    The first four hours ago, the others now.
    """
    source = connection.source
    source.on_invalid_event = OnInvalidEvent.QUARANTINE
    source.save()
    headers = {"HTTP_AUTHORIZATION": f"Basic {basic_token(make_write_key(source).key)}"}
    good = {"type": "track", "userId": "ann", "event": "Paid", "properties": {"total": 1}}
    discarded = {**good, "properties": {"total": "free"}}
    merge = {
        "type": "merge",
        "userId": "ann",
        "mergeProperties": [{"type": "a", "value": "1"}, {"type": "b", "value": "2"}],
    }

    def post(route, body):
        client.post(route, body, "application/json", **headers)

    post("/v1/batch", {"batch": [good, good]})
    run_load(connection)
    Standing.objects.update(at=timezone.now() - timedelta(hours=4))
    post("/v1/batch", {"batch": [discarded, {**good, "context": "no object"}, {"type": "odd"}]})
    post("/v1/batch", {"batch": [merge, {"type": "alias", "userId": "bea", "previousId": "b"}]})
    post("/v1/audiencelist", {"userId": "ann"})
    client.get("/pixel/v1/track", {"writeKey": source.write_keys.get().key, **PIXEL})
    run_load(connection)
    post("/v1/track", good)
    last = Event.objects.latest("pk")
    post("/v1/track", good)
    Loss.objects.create(
        connection=connection, day=NOW.date(), events=1, first_id=last.pk, last_id=last.pk
    )
    return connection


PIXEL = {"anonymousId": "ann", "event": "Opened"}
OUTCOMES = {
    "accepted": 10,
    "loaded": 6,
    "dead_letters": 1,
    "skipped": 1,
    "lost": 1,
    "pending": 1,
}


def test_every_kind_of_outcome_adds_up(every_outcome):
    answer = json.loads(ledger_command(json=True))

    (row,) = answer["connections"]
    assert {name: value for name, value in row.items() if value and name in COLUMNS} == OUTCOMES
    assert answer["adds_up"]
    assert Load.objects.latest("pk").discards == 1
    assert Quarantined.objects.count() == 1


def test_the_overview_shows_the_ledger_by_source_and_time(every_outcome, client):
    client.force_login(make_admin())
    other = make_connection(destination=every_outcome.destination)

    def sums(**query):
        seen = client.get("/admin/", query).context
        return {name: value for name, value in seen["sums"].items() if value}

    assert sums() == sums(source=every_outcome.source_id) == OUTCOMES
    assert sums(source=other.source_id) == {}
    assert sums(range="1h") == {**OUTCOMES, "accepted": 8, "loaded": 4}
    seen = client.get("/admin/", {"range": "1h"}).context
    assert (seen["received"], seen["accepted"], seen["refused"]) == (11, 10, 1)


def test_each_number_of_the_ledger_leads_to_as_many(every_outcome, client):
    client.force_login(make_admin())
    older = {"event_id": 1, "message_id": "m", "reason": "r", "payload": "{}"}
    every_outcome.dead_letters.create(**older)
    every_outcome.dead_letters.exclude(event_id=1).update(state=LetterState.LOADED)

    (flow,) = client.get("/admin/", {"range": "1h"}).context["flows"]

    accepted, _, letters, skipped, lost, pending = [
        client.get(cell.url).context["cl"].result_count for cell in flow.cells
    ]
    assert (letters, lost) == (flow.balance.dead_letters, flow.balance.lost) == (1, 1)
    assert (accepted, skipped) == (10, 1)
    assert pending == flow.balance.pending + flow.balance.lost


def test_many_connections_take_as_many_queries_as_one(connection, django_assert_num_queries):
    others = [make_connection(make_source(), connection.destination) for _ in range(4)]
    send(connection, track("m1"))
    run_load(connection)

    with django_assert_num_queries(7):
        (one,) = ledger.balances([connection])
    with django_assert_num_queries(7):
        balances = ledger.balances([connection, *others])

    assert balances[0] == one
    assert [balance.accepted for balance in balances] == [1, 0, 0, 0, 0]
