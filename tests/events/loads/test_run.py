from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from destinations.models import Start
from events.loads.run import run_load
from events.log.database import log_connection
from events.models import DeadLetter, Load
from events.tasks import load_connection
from events.workers.locks import Lock, try_lock
from tests.support.connections import send
from tests.support.events import NOW, event, track
from tests.support.factories import make_connection, make_destination
from tests.support.warehouse import rows

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_event_becomes_rows_and_a_profile(connection, warehouse):
    send(connection, track("m1", event="Order Done", properties={"total": 9.5}))

    run_load(connection)

    assert rows(warehouse, "SELECT id, event, user_id FROM shop.tracks") == [
        ("m1", "order_done", "u1")
    ]
    assert rows(
        warehouse,
        """
        SELECT o.id, o.total::text, p.user_id
        FROM shop.order_done o JOIN rudder_identity.rudder_profiles p
        ON p.rudder_id = o.rudder_profile_id
        """,
    ) == [("m1", "9.5", "u1")]


def test_a_load_is_kept_as_history(connection):
    send(connection, track("m1", event="Order Done"), track("m2", event="Order Done"))

    run_load(connection)

    load = Load.objects.get()
    assert (load.state, load.events, load.rows) == ("succeeded", 2, {"order_done": 2, "tracks": 2})
    assert load.finished_at is not None


def test_no_load_is_recorded_without_pending_events(connection):
    run_load(connection)

    assert not Load.objects.exists()


def test_a_second_load_continues_where_the_first_ended(connection, warehouse):
    send(connection, track("m1", event="A"))
    run_load(connection)
    send(connection, track("m2", event="A"))

    run_load(connection)

    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("m1",), ("m2",)]
    assert [load.events for load in Load.objects.order_by("id")] == [1, 1]


def test_the_same_event_again_changes_nothing(connection, warehouse):
    send(connection, track("m1", event="A"))
    run_load(connection)
    before = rows(warehouse, "SELECT * FROM shop.tracks")
    send(connection, track("m1", event="A"), track("m1", event="A"))

    run_load(connection)

    assert rows(warehouse, "SELECT * FROM shop.tracks") == before


def test_of_two_events_with_one_id_the_later_received_stays_whole(connection, warehouse):
    later = NOW + timedelta(minutes=1)
    send(connection, track("m1", event="A", properties={"before": 1}))
    run_load(connection)
    send(connection, track("m1", received_at=later, event="A", properties={"after": 2}))

    run_load(connection)

    assert rows(warehouse, "SELECT received_at, before, after FROM shop.a") == [(later, None, 2)]


def test_an_event_that_cannot_be_rows_is_a_dead_letter_and_the_others_load(connection, warehouse):
    send(
        connection,
        track("m1", event="A"),
        event("m2", "nonsense", userId="u1"),
        track("m3", event="A"),
    )

    run_load(connection)

    letter = DeadLetter.objects.get()
    assert letter.message_id == "m2"
    assert "nonsense" in letter.reason
    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("m1",), ("m3",)]
    assert Load.objects.get().dead_letters == 1


def test_a_poison_event_is_found_in_its_chunk(connection, warehouse):
    too_long_for_a_key = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(9000))
    good = [track(f"m{number}", event="A") for number in range(20)]
    send(connection, *good[:13], track(too_long_for_a_key, event="A"), *good[13:])

    run_load(connection)

    assert rows(warehouse, "SELECT count(*) FROM shop.tracks") == [(20,)]
    assert DeadLetter.objects.get().message_id == too_long_for_a_key
    assert Load.objects.get().events == 20


def test_an_event_without_a_table_is_skipped_and_counted(connection):
    send(connection, event("m1", "audiencelist", userId="u1"))

    run_load(connection)

    load = Load.objects.get()
    assert (load.events, load.skipped, load.dead_letters) == (0, 1, 0)


def test_a_load_keeps_why_events_were_skipped(connection):
    off = track("m1", event="A", integrations={"All": False})
    send(connection, off, event("m2", "audiencelist", userId="u1"), track("m3", event="A"))

    run_load(connection)

    assert Load.objects.get().skip_reasons == {
        "its integrations turn POSTGRES off": 1,
        "audiencelist events have no table": 1,
    }


def test_the_load_that_meets_the_budget_keeps_the_warning(connection):
    connection.destination.config["column_budget"] = 50
    for number in range(2):
        junk = {f"key{number}_{key}": key for key in range(100)}
        send(connection, track(f"m{number}", event="A", properties=junk))
        run_load(connection)

    later, first = Load.objects.all()
    assert [warning.partition(";")[0] for warning in first.warnings] == [
        "shop.a has reached its limit of 50 columns"
    ]
    assert later.warnings == []


def test_a_view_with_the_name_of_a_table_turns_only_its_events_into_dead_letters(
    connection, warehouse
):
    warehouse.execute("CREATE SCHEMA shop")
    warehouse.execute("CREATE VIEW shop.a AS SELECT 1 AS id")
    send(connection, *(track(f"m{n}", event="A" if n % 2 else "B") for n in range(6)))

    run_load(connection)

    connection.refresh_from_db()
    load = Load.objects.get()
    assert (load.state, load.events, load.dead_letters) == ("succeeded", 3, 3)
    assert rows(warehouse, "SELECT id FROM shop.b ORDER BY id") == [("m0",), ("m2",), ("m4",)]
    assert {letter.reason for letter in DeadLetter.objects.all()} == {
        "shop.a is a view, so no table can be created with this name"
    }


def test_an_event_for_another_destination_is_skipped(connection, warehouse):
    ours = {"rudderDestinationId": connection.destination.public_id}
    others = {"rudderDestinationId": "another"}
    send(connection, track("m1", event="A", **ours), track("m2", event="A", **others))

    run_load(connection)

    load = Load.objects.get()
    assert (load.events, load.skipped) == (1, 1)
    assert rows(warehouse, "SELECT id FROM shop.tracks") == [("m1",)]


def test_a_value_that_does_not_fit_is_discarded_and_its_row_is_loaded(connection, warehouse):
    send(
        connection,
        track("m1", event="A", properties={"size": True}),
        track("m2", event="A", properties={"size": "large"}),
    )

    run_load(connection)

    assert rows(warehouse, "SELECT id, size FROM shop.a ORDER BY id") == [
        ("m1", True),
        ("m2", None),
    ]
    assert rows(
        warehouse,
        "SELECT table_name, column_name, column_value, row_id FROM shop.rudder_discards",
    ) == [("a", "size", "large", "m2")]
    assert Load.objects.get().discards == 1


def test_a_whole_number_column_is_widened_for_a_fraction(connection, warehouse):
    send(connection, track("m1", event="A", properties={"price": 1}))
    run_load(connection)
    send(connection, track("m2", event="A", properties={"price": 2.5}))

    run_load(connection)

    assert rows(warehouse, "SELECT price::text FROM shop.a ORDER BY id") == [("1",), ("2.5",)]
    assert rows(warehouse, "SELECT count(*) FROM shop.rudder_discards") == [(0,)]


def test_a_number_beyond_bigint_is_kept(connection, warehouse):
    send(connection, track("m1", event="A", properties={"big": 2**63}))

    run_load(connection)

    assert rows(warehouse, "SELECT big::text FROM shop.a") == [(str(2**63),)]


def test_a_first_numeric_user_id_refuses_no_text_after_it(connection, warehouse):
    send(connection, track("m1", event="A", userId=77), track("m2", event="A", userId="u-1"))

    run_load(connection)

    assert rows(warehouse, "SELECT user_id FROM shop.tracks ORDER BY id") == [("77",), ("u-1",)]


def test_users_keep_the_latest_value_of_each_trait(connection, warehouse):
    send(
        connection,
        event("m1", "identify", traits={"plan": "free", "city": "Rome"}, userId="u1"),
        event("m2", "identify", traits={"plan": "pro"}, userId="u1"),
    )

    run_load(connection)

    assert rows(warehouse, "SELECT id, plan, city FROM shop.users") == [("u1", "pro", "Rome")]


def test_an_identify_that_comes_late_fills_only_gaps(connection, warehouse):
    earlier = NOW - timedelta(hours=1)
    send(connection, event("m1", "identify", traits={"plan": "pro"}, userId="u1"))
    run_load(connection)
    late = {"plan": "free", "city": "Rome"}
    send(connection, event("m0", "identify", received_at=earlier, traits=late, userId="u1"))

    run_load(connection)

    assert rows(warehouse, "SELECT plan, city, received_at FROM shop.users") == [
        ("pro", "Rome", NOW)
    ]


def test_two_devices_of_one_user_are_one_profile(connection, warehouse):
    send(
        connection,
        track("m1", event="A", userId="", anonymousId="phone"),
        track("m2", event="A", userId="", anonymousId="laptop"),
        event("m3", "identify", anonymousId="phone", userId="u1"),
        event("m4", "identify", anonymousId="laptop", userId="u1"),
    )

    run_load(connection)

    assert rows(warehouse, "SELECT count(*) FROM rudder_identity.rudder_profiles") == [(1,)]
    assert rows(
        warehouse,
        """
        SELECT merge_property_type, merge_property_value
        FROM rudder_identity.rudder_identity_mappings ORDER BY 1, 2
        """,
    ) == [("anonymous_id", "laptop"), ("anonymous_id", "phone"), ("user_id", "u1")]


def test_a_malformed_merge_is_a_dead_letter(connection):
    send(connection, event("m1", "merge", mergeProperties=[{"type": "email"}], userId="u1"))

    run_load(connection)

    assert DeadLetter.objects.get().message_id == "m1"


def test_a_table_dropped_by_hand_is_created_again(connection, warehouse):
    send(connection, track("m1", event="A"))
    run_load(connection)
    warehouse.execute("DROP TABLE shop.a CASCADE")
    send(connection, track("m2", event="A"))

    run_load(connection)

    assert rows(warehouse, "SELECT id FROM shop.a") == [("m2",)]


def test_a_dead_warehouse_waits_and_recovers_by_itself(connection, warehouse):
    destination = connection.destination
    port = destination.config["port"]
    destination.config["port"] = 1
    destination.save()
    send(connection, track("m1", event="A"))
    run_load(connection)
    connection.refresh_from_db()
    waiting = (connection.failures, connection.is_waiting(timezone.now()), connection.error)
    destination.config["port"] = port
    destination.save()
    connection.retry_at = timezone.now()
    connection.save()

    load_connection(connection.pk)

    connection.refresh_from_db()
    assert waiting[:2] == (1, True)
    assert "refused" in waiting[2]
    assert (connection.failures, connection.error) == (0, "")
    assert rows(warehouse, "SELECT id FROM shop.tracks") == [("m1",)]


def test_a_waiting_connection_is_left_alone(connection, warehouse):
    connection.retry_at = timezone.now() + timedelta(minutes=1)
    connection.save()
    send(connection, track("m1", event="A"))

    load_connection(connection.pk)

    assert not Load.objects.exists()


def test_a_destination_without_rights_says_so(connection, warehouse):
    destination = connection.destination
    warehouse.execute("DROP ROLE IF EXISTS reader_only")
    warehouse.execute("CREATE ROLE reader_only LOGIN PASSWORD 'correct horse'")
    destination.config["user"] = "reader_only"
    destination.secrets = {"password": "correct horse"}
    destination.save()
    send(connection, track("m1", event="A"))

    run_load(connection)

    connection.refresh_from_db()
    warehouse.execute("DROP ROLE reader_only")
    assert "permission denied" in connection.error
    assert connection.failures == 1


def test_a_connection_can_start_with_the_next_event(connection, warehouse):
    send(connection, track("old", event="A"))
    destination = make_destination(
        connection.destination.config, connection.destination.secrets, public_id="second"
    )
    destination.config |= {"namespace": "fresh", "identity_schema": "fresh_identity"}
    destination.save()
    fresh = make_connection(connection.source, destination, start=Start.NOW)
    send(connection, track("new", event="A"))

    run_load(fresh)

    assert rows(warehouse, "SELECT id FROM fresh.tracks") == [("new",)]


def test_another_worker_that_has_the_connection_is_not_disturbed(connection):
    send(connection, track("m1", event="A"))
    with log_connection() as other, try_lock(other, Lock.LOAD, connection.pk):
        run_load(connection)

    assert not Load.objects.exists()


def test_the_ledger_counts_commit_with_the_cursor(connection, warehouse):
    send(connection, track("m1", event="A"), event("m2", "nonsense", userId="u1"))
    send(connection, event("m3", "audiencelist", userId="u1"))

    run_load(connection)

    assert rows(
        warehouse, "SELECT loaded, skipped, dead_letters FROM rudder_identity.rudder_cursors"
    ) == [(1, 1, 1)]


def test_the_namespace_stays_when_the_source_is_renamed(connection, warehouse):
    send(connection, track("m1", event="A"))
    run_load(connection)
    connection.source.name = "Other"
    connection.source.save()
    connection.refresh_from_db()
    send(connection, track("m2", event="A"))

    run_load(connection)

    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("m1",), ("m2",)]


def test_events_above_the_chunk_limit_are_loaded_in_several_chunks(connection, warehouse, settings):
    settings.LOAD_CHUNK_EVENTS = 3
    send(connection, *(track(f"m{number}", event="A") for number in range(10)))

    run_load(connection)

    assert rows(warehouse, "SELECT count(*) FROM shop.tracks") == [(10,)]
    assert Load.objects.get().events == 10


def test_a_long_load_gives_others_their_turn_and_continues(connection, warehouse, settings):
    settings.LOAD_CHUNK_EVENTS = 1
    send(connection, *(track(f"m{number}", event="A") for number in range(5)))

    pending = run_load(connection, seconds=0)
    loaded_first = rows(warehouse, "SELECT count(*) FROM shop.tracks")
    pending_then = run_load(connection)

    assert (pending, loaded_first) == (True, [(1,)])
    assert pending_then is False
    assert rows(warehouse, "SELECT count(*) FROM shop.tracks") == [(5,)]


def test_a_load_that_was_killed_is_not_called_running_for_ever(connection):
    Load.objects.create(connection=connection, after_id=0, upto_id=0)
    send(connection, track("m1", event="A"))

    run_load(connection)

    assert [load.state for load in Load.objects.order_by("id")] == ["failed", "succeeded"]


def test_a_fault_of_ours_is_shown_and_backs_off(connection, settings):
    settings.LOAD_CHUNK_BYTES = "not a number"
    send(connection, track("m1", event="A"))

    run_load(connection)

    connection.refresh_from_db()
    assert connection.is_waiting(timezone.now())
    assert connection.error
    assert Load.objects.get().state == "failed"
