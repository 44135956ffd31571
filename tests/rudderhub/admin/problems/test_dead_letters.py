from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.cache import cache

from events.loads import dead_letters, ledger, replays
from events.loads.run import run_load
from events.log import reader as event_reader
from events.log import retention, writer
from events.log.database import log_connection
from events.models import DeadLetter, Replay
from events.tasks import load_replay
from events.workers import queue
from events.workers.errors import fingerprint
from rudderhub.admin.problems.dead_letter_actions import dead_letter_action
from tests.support.connections import send
from tests.support.events import NOW, event, track
from tests.support.factories import make_admin, make_connection, make_event
from tests.support.http import html
from tests.support.warehouse import rows

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/events/deadletter/"
EVENTS = "/admin/events/event/"


@pytest.fixture(autouse=True)
def _fresh():
    cache.clear()
    yield
    writer.close_writer()
    queue.close_enqueuer()


@pytest.fixture
def dead(connection, warehouse):
    """m1 is loaded; m2 and m3 are dead for a view where their table belongs, m4 for its type."""
    warehouse.execute("CREATE SCHEMA shop; CREATE VIEW shop.paid AS SELECT 1 AS id")
    paid = [track(name, event="Paid", properties={"n": 1}) for name in ("m2", "m3")]
    send(connection, track("m1", event="Seen"), *paid, event("m4", "nonsense", userId="u1"))
    run_load(connection)
    assert letters() == {"m2": ("open", 1), "m3": ("open", 1), "m4": ("open", 1)}
    return connection


def letters():
    rows = DeadLetter.objects.order_by("message_id")
    return {row.message_id: (row.state, row.attempts) for row in rows}


def letter(message_id):
    return DeadLetter.objects.get(message_id=message_id)


def work():
    """Run all replays, as a worker does."""
    for replay in Replay.objects.filter(state="running"):
        load_replay(replay.pk)


def listed_message_ids(response):
    return sorted(row.message_id for row in response.context["cl"].result_list)


def rerun(admin_client, message_id, reach="one"):
    return admin_client.post(f"{LIST}{letter(message_id).pk}/rerun/{reach}/", {"confirm": "1"})


def test_the_list_shows_open_dead_letters_and_can_be_filtered(admin_client, dead):
    other = make_connection()
    text = html(admin_client.get(LIST))
    of_type = admin_client.get(LIST, {"kind": letter("m4").kind})

    assert "track · Paid" in text
    assert listed_message_ids(admin_client.get(LIST)) == ["m2", "m3", "m4"]
    assert listed_message_ids(of_type) == ["m4"]
    assert listed_message_ids(admin_client.get(LIST, {"q": "shop.paid is a view"})) == ["m2", "m3"]
    assert listed_message_ids(admin_client.get(LIST, {"q": "m3"})) == ["m3"]
    assert listed_message_ids(admin_client.get(LIST, {"connection__id__exact": other.pk})) == []
    assert listed_message_ids(admin_client.get(LIST, {"state": "loaded"})) == []


def test_a_rerun_is_shown_before_anything_is_done(admin_client, dead):
    text = html(admin_client.get(f"{LIST}{letter('m2').pk}/rerun/alike/"))

    assert "<td>2</td>" in text
    assert "shop.paid is a view" in text
    assert not Replay.objects.exists()


def test_a_rerun_loads_the_event_once_the_cause_is_gone(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid")

    answer = rerun(admin_client, "m2")
    replay = Replay.objects.get()
    queued = cache.get(f"queued:replay:{replay.pk}")
    work()

    replay.refresh_from_db()
    assert answer["Location"] == f"/admin/events/replay/{replay.pk}/change/"
    assert queued
    assert (replay.state, replay.events, replay.percent) == ("succeeded", 1, 100)
    assert letters() == {"m2": ("loaded", 2), "m3": ("open", 1), "m4": ("open", 1)}
    assert letter("m2").payload == ""
    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("m1",), ("m2",)]
    assert rows(warehouse, "SELECT id FROM shop.paid") == [("m2",)]
    done = LogEntry.objects.get(change_message__contains="Re-ran")
    assert done.change_message == f"Re-ran 1 dead letter: {replay}."
    assert done.user.username == "ada"


def test_all_alike_are_rerun_and_no_other(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid")

    rerun(admin_client, "m3", "alike")
    work()

    assert letters() == {"m2": ("loaded", 2), "m3": ("loaded", 2), "m4": ("open", 1)}
    assert rows(warehouse, "SELECT id FROM shop.paid ORDER BY id") == [("m2",), ("m3",)]


def test_a_long_rerun_goes_chunk_by_chunk(admin_client, dead, warehouse, settings):
    settings.LOAD_CHUNK_EVENTS = 1
    warehouse.execute("DROP VIEW shop.paid")

    rerun(admin_client, "m2", "alike")
    work()

    replay = Replay.objects.get()
    assert (replay.state, replay.events, replay.percent) == ("succeeded", 2, 100)
    assert letters() == {"m2": ("loaded", 2), "m3": ("loaded", 2), "m4": ("open", 1)}


def test_what_still_cannot_be_loaded_gets_an_attempt_and_its_reason(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid; CREATE SEQUENCE shop.paid")

    rerun(admin_client, "m2")
    work()

    dead_letter = letter("m2")
    assert (dead_letter.state, dead_letter.attempts, dead_letter.closed_at) == ("open", 2, None)
    assert "is a sequence" in dead_letter.reason
    assert dead_letter.kind == fingerprint(dead_letter.reason)
    assert Replay.objects.get().dead_letters == 1


def test_selected_ones_are_rerun_from_the_list(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid")
    chosen = [str(letter(name).pk) for name in ("m2", "m4")]

    asked = html(admin_client.post(LIST, {"action": "rerun", "_selected_action": chosen}))
    admin_client.post(LIST, {"action": "rerun", "_selected_action": chosen, "confirm": "1"})
    work()

    assert all(f'name="_selected_action" value="{pk}"' in asked for pk in chosen)
    assert letters() == {"m2": ("loaded", 2), "m3": ("open", 1), "m4": ("open", 2)}


def test_a_rerun_twice_changes_nothing_in_the_warehouse(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid")
    payloads = dict(DeadLetter.objects.values_list("pk", "payload"))
    rerun(admin_client, "m2", "alike")
    work()
    before = rows(warehouse, "SELECT id, n, received_at FROM shop.paid ORDER BY id")

    for pk, payload in payloads.items():
        DeadLetter.objects.filter(pk=pk).update(state="open", payload=payload)
    rerun(admin_client, "m2", "alike")
    work()

    assert rows(warehouse, "SELECT id, n, received_at FROM shop.paid ORDER BY id") == before


def test_a_rerun_needs_no_log(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid")
    with log_connection() as conn:
        conn.execute("TRUNCATE events_event")

    rerun(admin_client, "m2")
    work()

    assert letters()["m2"] == ("loaded", 2)
    assert rows(warehouse, "SELECT id FROM shop.paid") == [("m2",)]


def test_what_a_killed_rerun_had_loaded_is_closed_by_its_next_turn(admin_client, dead, warehouse):
    """Killed between the warehouse's commit and ours: the cursor has passed it."""
    warehouse.execute("DROP VIEW shop.paid")
    rerun(admin_client, "m2", "alike")
    work()
    Replay.objects.update(state="running", finished_at=None)
    DeadLetter.objects.filter(message_id="m3").update(state="open", attempts=1)

    work()

    assert letters()["m3"] == ("loaded", 2)
    assert Replay.objects.get().state == "succeeded"


def test_a_dead_letter_is_discarded_with_a_note(admin_client, dead):
    url = f"{LIST}{letter('m2').pk}/discard/alike/"

    without = html(admin_client.post(url, {"confirm": "1", "note": " "}))
    admin_client.post(url, {"confirm": "1", "note": "a test of ours"})

    assert "Add a note" in without
    assert letters() == {"m2": ("discarded", 1), "m3": ("discarded", 1), "m4": ("open", 1)}
    dead_letter = letter("m2")
    assert (dead_letter.closed_by, dead_letter.note) == ("ada", "a test of ours")
    assert dead_letter.closed_at
    assert LogEntry.objects.filter(
        change_message="Discarded 2 dead letters: a test of ours", user__username="ada"
    ).exists()
    assert listed_message_ids(admin_client.get(LIST)) == ["m4"]
    assert "a test of ours" in html(admin_client.get(f"{LIST}{dead_letter.pk}/change/"))


def test_the_ledger_adds_up_whatever_becomes_of_dead_letters(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid")
    rerun(admin_client, "m2")
    work()
    admin_client.post(f"{LIST}{letter('m4').pk}/discard/one/", {"confirm": "1", "note": "noise"})
    send(dead, track("m5", event="Paid"))
    run_load(dead)

    (balance,) = ledger.balances([dead])

    assert (balance.accepted, balance.loaded, balance.dead_letters) == (5, 2, 3)
    assert balance.difference == 0
    assert listed_message_ids(admin_client.get(LIST)) == ["m3"]
    assert listed_message_ids(admin_client.get(LIST, {"state": "all"})) == ["m2", "m3", "m4"]


def test_one_that_was_loaded_and_is_refused_again_is_open_again(admin_client, dead, warehouse):
    warehouse.execute("DROP VIEW shop.paid")
    rerun(admin_client, "m2")
    work()
    warehouse.execute("DROP TABLE shop.paid; CREATE SEQUENCE shop.paid")

    replays.begin_replay(dead, None)
    work()

    dead_letter = letter("m2")
    assert (dead_letter.state, dead_letter.attempts) == ("open", 3)
    assert '"messageId": "m2"' in dead_letter.payload


def test_one_replay_of_a_connection_runs_at_a_time(admin_client, dead):
    replay = replays.begin_replay(dead, None)

    text = html(admin_client.get(f"{LIST}{letter('m2').pk}/rerun/one/"))
    rerun(admin_client, "m2")

    assert f"{replay} is running" in text
    assert Replay.objects.count() == 1
    assert letters()["m2"] == ("open", 1)


def test_the_rerun_of_a_paused_connection_waits_and_the_page_says_so(admin_client, dead):
    dead.destination.enabled = False
    dead.destination.save()

    text = html(admin_client.get(f"{LIST}{letter('m2').pk}/rerun/one/"))
    rerun(admin_client, "m2")
    work()

    assert "paused; waits until it is enabled" in text
    assert (Replay.objects.get().state, letters()["m2"]) == ("running", ("open", 1))


def test_a_rerun_holds_no_day_of_the_log(admin_client, dead):
    rerun(admin_client, "m2")

    with log_connection() as conn:
        days = retention.drop_due_days(conn, retention.Limits(days=1), NOW + timedelta(days=9))

    assert NOW.date() in days


def test_a_settled_one_leaves_the_overview(admin_client, dead):
    before = html(admin_client.get("/admin/"))
    DeadLetter.objects.update(state="discarded")

    assert "could not load an event" in before
    assert "could not load an event" not in html(admin_client.get("/admin/"))


def test_a_discarded_one_is_not_rerun(admin_client, dead):
    admin_client.post(f"{LIST}{letter('m2').pk}/discard/one/", {"confirm": "1", "note": "noise"})

    text = html(admin_client.get(f"{LIST}{letter('m2').pk}/rerun/one/"))
    rerun(admin_client, "m2")

    assert "None of these are open any more" in text
    assert not Replay.objects.exists()


def test_dead_letters_are_read_only_without_the_permission_to_change_connections(
    staff_client, dead
):
    client = staff_client("view_deadletter")

    look = html(client.get(f"{LIST}{letter('m2').pk}/change/"))
    answer = rerun(client, "m2")

    assert "Re-run" not in look
    assert answer.status_code == 403
    assert not Replay.objects.exists()


def test_values_in_a_reason_are_hidden_without_the_permission(client, dead):
    DeadLetter.objects.update(reason='"ann" is wrong', kind=fingerprint('"ann" is wrong'))
    dead_letter = letter("m2")
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(
        *Permission.objects.filter(codename__in=["view_deadletter", "view_event"])
    )
    client.force_login(reader)

    pages = [
        html(client.get(url))
        for url in (
            LIST,
            f"{LIST}{dead_letter.pk}/change/",
            f"{EVENTS}{dead_letter.event_id}/change/",
        )
    ]

    assert ["… is wrong" in text for text in pages] == [True, True, True]
    assert ["ann" in text.partition("<main")[2] for text in pages] == [False, False, False]


def test_an_event_that_a_load_takes_up_again_is_no_dead_letter(connection):
    """A worker was killed after it had kept the letter, and the cause went away."""
    send(connection, track("m1", event="Seen"))
    with log_connection() as conn:
        first = event_reader.barrier(conn)
    DeadLetter.objects.create(
        connection=connection, event_id=first, message_id="m1", reason="a fault", payload="{}"
    )

    run_load(connection)

    assert letters() == {"m1": ("loaded", 2)}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ('invalid type "x y": 12', "invalid type …: …"),
        ("port is '5', expected 1 to 65535", "port is …, expected … to …"),
        ("it has none", "it has none"),
        ("the event's context isn't a map", "the event's context isn't a map"),
        ('name is "Ann "Annie" Smith", not text', "name is …, not text"),
        ('expected "a" or "b"', "expected … or …"),
        ('cut off at "Ann Sm', "cut off at …"),
        ("it is there\nDETAIL:  Key (email)=(ann@x.example) exists.", "it is there"),
        ("x" * 300, "x" * 200),
    ],
)
def test_reasons_alike_are_of_a_kind(reason, kind):
    assert fingerprint(reason) == kind


def test_a_replay_keeps_what_it_skipped_and_why(connection):
    off = track("m2", event="B", integrations={"All": False})
    send(connection, track("m1", event="A"), off)
    run_load(connection)

    replay = replays.begin_replay(connection, None)
    load_replay(replay.pk)

    replay.refresh_from_db()
    assert (replay.events, replay.skipped) == (1, 1)
    assert list(replay.skip_reasons.values()) == [1]


def test_the_progress_of_a_rerun_is_shown_and_refreshed(admin_client, dead):
    rerun(admin_client, "m2", "alike")
    url = f"/admin/events/replay/{Replay.objects.get().pk}/change/"
    before = html(admin_client.get(url))
    work()

    after = html(admin_client.get(url))

    assert 'data-live="2"' in before
    assert "data-live" not in after.partition("<script")[0]
    assert "100 %" in after


def test_events_of_a_dropped_day_keep_the_list_open(admin_client, dead):
    event_of_another = make_event()
    DeadLetter.objects.create(
        connection=dead, event_id=10**9, message_id=event_of_another.message_id, reason="r"
    )

    assert "m4" in listed_message_ids(admin_client.get(LIST))


def test_an_action_takes_the_oldest_dead_letters_up_to_its_limit(admin_client, rf, dead):
    alike = dead_letters.similar_letters(letter("m3"))
    request = rf.post("/", {"confirm": "1", "note": "old"})
    request.user, request._messages = make_admin(), CookieStorage(request)  # noqa: SLF001
    model_admin = site.get_model_admin(DeadLetter)

    preview = html(admin_client.get(f"{LIST}{letter('m3').pk}/discard/alike/"))
    dead_letter_action(model_admin, request, "discard", alike, most=1)
    dead_letter_action(model_admin, request, "rerun", alike, most=1)

    assert "<td>2</td>" in preview
    assert letters() == {"m2": ("discarded", 1), "m3": ("open", 1), "m4": ("open", 1)}
    assert Replay.objects.get().expected == 1
