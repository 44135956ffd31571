"""Erasures as workers do them: in parts, from a row that holds the identifiers until the end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
import redis
from cryptography.fernet import Fernet
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.db import connection as database
from django.utils import timezone

from destinations.models import Erasure
from destinations.postgres.identity import graph_schema
from destinations.warehouse.identity.erasure import DELETE, ErasedIdentifiers
from destinations.warehouse.identity.statements import Identifier
from events.log import writer
from events.log.database import log_connection
from events.log.erasure import LogErasure
from events.models import DeadLetter, Event, Quarantined
from events.people import erasure as people_erasure
from events.people import erasure_preview, store
from events.people.actions import ACTIONS, ActionRequest
from events.people.erasure import DEFAULT_SLICE, Slice
from events.tasks import continue_erasure, enqueue_waiting_work
from events.workers.locks import Lock, try_lock
from rudderhub.env import ROOT
from tests.support.broker import take_broker_away
from tests.support.database import process_environment
from tests.support.events import NOW, event, parsed_event
from tests.support.identity_graph import user
from tests.support.people import Hub, advance_changes, everything_stored
from tests.support.wait import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

ANN, BOB = Identifier("user_id", "ann-1"), Identifier("user_id", "bob-1")


@pytest.fixture
def hub(warehouse, warehouse_url):
    cache.clear()
    with database.cursor() as cursor:
        cursor.execute("TRUNCATE events_event")
    yield Hub(warehouse, warehouse_url, {"blocked": True})
    store.close_pooled()
    writer.close_writer()


def request(hub, identifier=ANN):
    with store.connect(hub.destination) as identities:
        return people_erasure.request(hub.destination, identities, [identifier], actor="eve")


def confirm(hub, admin_client):
    """The response of the change's page after a worker has run the change."""
    form = {"action": "erase", "value": "ann-1"}
    requested = admin_client.post(f"/admin/people/{hub.destination.pk}/act/", form)
    advance_changes()
    admin_client.post(requested.url, {"confirm": "1", "reason": "asked"})
    advance_changes()
    return admin_client.get(requested.url)


def page_of(admin_client, erasure, **headers):
    url = f"/admin/destinations/erasure/{erasure.pk}/change/"
    return admin_client.get(url, headers=headers).content.decode()


def queued_messages(settings):
    """The messages in the broker."""
    with redis.from_url(settings.CELERY_BROKER_URL) as broker:
        return [*broker.lrange("celery", 0, -1), *broker.hvals("unacked")]


def log_types():
    return list(Event.objects.order_by("id").values_list("type", flat=True))


def test_a_confirmed_erasure_waits_for_a_worker_that_does_it(hub, admin_client, settings):
    hub.load(event(1, userId="ann-1", event="Looked"), event(2, userId="bob-1"))

    answer = confirm(hub, admin_client)
    erasure = Erasure.objects.get()
    before = (
        erasure.state,
        len(hub.clusters()),
        log_types(),
        'data-live="2"' in page_of(admin_client, erasure),
    )
    while not erasure.is_done:
        continue_erasure(erasure.pk)
        erasure.refresh_from_db()

    assert answer.url == f"/admin/destinations/erasure/{erasure.pk}/change/"
    assert before == ("waiting", 2, ["track", "track"], True)
    assert set(hub.clusters()) == {(user("bob-1"),)}
    assert log_types() == ["erased", "track"]
    assert erasure.counts["event log"] == 1
    assert erasure.counts["web.tracks"] == 1
    page = page_of(admin_client, erasure)
    assert "web.tracks" in page
    assert "data-live" not in page


def test_without_a_broker_an_erasure_waits_for_beat(hub, admin_client, monkeypatch):
    hub.load(event(1, userId="ann-1", event="Looked"))
    take_broker_away(monkeypatch)

    confirm(hub, admin_client)
    erasure = Erasure.objects.get()
    waiting = [waiting_erasure.pk for waiting_erasure in people_erasure.unfinished_erasures()]
    people_erasure.run(erasure)

    assert waiting == [erasure.pk]
    assert log_types() == ["erased"]
    assert hub.clusters() == {}


def test_the_identifiers_are_stored_encrypted_until_the_erasure_is_done(
    hub, admin_client, settings
):
    hub.load(event(1, userId="ann-1", event="Looked"))
    confirm(hub, admin_client)
    erasure = Erasure.objects.get()

    held, row = erasure.held, raw_identifiers(erasure)
    messages = queued_messages(settings)
    people_erasure.run(erasure)

    assert held == {"identifiers": [["user_id", "ann-1"]]}
    assert b"ann-1" not in row
    assert len(row) > 50
    assert [message for message in messages if b"ann-1" in message] == []
    assert raw_identifiers(erasure) == b""
    assert "ann-1" not in everything_stored(hub)


def raw_identifiers(erasure):
    with database.cursor() as cursor:
        cursor.execute("SELECT held FROM destinations_erasure WHERE id = %s", [erasure.pk])
        return bytes(cursor.fetchone()[0])


def test_no_done_erasure_can_hold_identifiers(hub):
    with pytest.raises(IntegrityError, match="a_done_erasure_holds_nothing"):
        Erasure.objects.create(
            destination=hub.destination, state="done", held={"identifiers": [list(ANN)]}
        )


def test_events_after_the_first_step_are_suppressed_while_the_log_waits(hub):
    hub.load(event(1, userId="ann-1", event="Looked"))
    erasure = request(hub)

    people_erasure.run_slice(erasure)
    waiting = (erasure.state, erasure.step, log_types())
    hub.load(event(2, userId="ann-1", event="Looked"))

    assert waiting == ("running", "log", ["track"])
    assert hub.clusters() == {}
    assert hub.conn.execute("SELECT id FROM web.tracks").fetchall() == []
    people_erasure.run(erasure)
    assert "ann-1" not in everything_stored(hub)


def test_the_log_is_erased_in_parts_with_progress(hub):
    limits = Slice(seconds=0.0, ids=2)
    hub.append(*(event(n, userId="ann-1") for n in range(1, 5)))
    erasure = request(hub)
    people_erasure.run_slice(erasure)
    seen = []

    while erasure.step in {"warehouse", "log"}:
        people_erasure.run_slice(erasure, limits)
        seen.append((erasure.percent, erasure.counts["event log"], log_types().count("erased")))

    assert seen == [(49, 2, 2), (99, 4, 4)]
    people_erasure.run(erasure)
    assert (erasure.percent, erasure.counts["event log"]) == (100, 4)


def test_refused_requests_and_dead_letters_are_erased_in_parts(hub):
    connection = hub.connection("web")
    for number in range(3):
        make_refused(connection.source, b'{"userId": "ann-1"')
        make_dead_letter(connection, number, '{"userId": "ann-1"}')
    kept = make_refused(connection.source, b'{"userId": "bob-1"')
    erasure = request(hub)
    seen = []

    while not erasure.is_done:
        people_erasure.run_slice(erasure, Slice(seconds=0.0))
        seen.append((erasure.step, DeadLetter.objects.count(), Quarantined.objects.count()))

    assert seen[-10:] == [
        ("dead_letters", 2, 4),
        ("dead_letters", 1, 4),
        ("dead_letters", 0, 4),
        ("quarantine", 0, 4),
        ("quarantine", 0, 4),  # the newest is somebody else's
        ("quarantine", 0, 3),
        ("quarantine", 0, 2),
        ("quarantine", 0, 1),
        ("messages", 0, 1),
        ("messages", 0, 1),
    ]
    assert Quarantined.objects.get() == kept
    assert erasure.counts == {"dead letters": 3, "quarantine": 3}


def make_refused(source, body):
    return Quarantined.objects.create(
        source=source, route="/v1/track", status=400, reason="r", body=body, body_bytes=len(body)
    )


def make_dead_letter(connection, event_id, payload):
    return DeadLetter.objects.create(
        connection=connection, event_id=event_id, message_id="d", reason="r", payload=payload
    )


def test_a_killed_erasure_continues_and_counts_each_event_once(hub):
    hub.load(event(0, userId="ann-1", event="Looked"))
    source = hub.connection("web").source_id
    events = [parsed_event(event(n % 60, messageId=f"d{n}", userId="ann-1")) for n in range(3000)]
    writer.append(source, NOW, events, timeout_seconds=60)
    erasure = request(hub)
    killed = subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", PARTS, str(erasure.pk)], cwd=ROOT, env=process_environment()
    )
    wait_for(lambda: erased_events(erasure) > 0)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    reached = erased_events(erasure)

    cache.clear()
    enqueue_waiting_work()
    is_queued = cache.get(f"queued:erasure:{erasure.pk}")
    people_erasure.run(erasure)

    assert 0 < reached < 3001
    assert is_queued
    assert erasure.counts == {
        "event log": 3001,
        "identity_activity": 1,
        "identity_edge": 1,
        "identity_node": 1,
        "rudder_profiles": 1,
        "web.looked": 1,
        "web.tracks": 1,
    }
    assert "ann-1" not in everything_stored(hub)


def erased_events(erasure):
    return Erasure.objects.get(pk=erasure.pk).counts.get("event log", 0)


PARTS = """
import sys, django
django.setup()
from destinations.models import Erasure
from events.people.erasure import Slice, run_slice
erasure = Erasure.objects.get(pk=sys.argv[1])
while run_slice(erasure, Slice(ids=5)):
    pass
"""


def test_a_kill_after_the_warehouse_has_committed_loses_no_count(hub):
    hub.load(event(1, userId="ann-1", event="Looked"), event(2, "identify", userId="ann-1"))
    erasure = request(hub)
    people_erasure.run_slice(erasure)
    first = erasure.counts
    Erasure.objects.filter(pk=erasure.pk).update(step="warehouse")  # what was not committed

    people_erasure.run(erasure)

    assert first["web.tracks"] == 1
    assert erasure.counts == {**first, "event log": 2}


def test_a_worker_leaves_an_erasure_to_the_one_that_runs_it(hub):
    erasure = request(hub)
    with log_connection() as conn, try_lock(conn, Lock.ERASURE, erasure.pk) as taken:
        goes_on = people_erasure.run_slice(erasure)

    assert taken
    assert (goes_on, erasure.state) == (False, "waiting")


def test_an_erasure_fails_without_its_warehouse_and_continues_later(hub, admin_client):
    hub.load(event(1, userId="ann-1", event="Looked"))
    erasure = request(hub)
    port = move_to(hub, 1)
    continue_erasure(erasure.pk)
    erasure.refresh_from_db()
    failed = (erasure.state, erasure.failures, "refused" in erasure.error)
    continue_erasure(erasure.pk)  # too early
    shown, overview = page_of(admin_client, erasure), admin_client.get("/admin/").content.decode()
    move_to(hub, port)
    Erasure.objects.update(retry_at=timezone.now())

    erasure.refresh_from_db()
    people_erasure.run(erasure)

    assert failed == ("failed", 1, True)
    assert "refused" in shown
    assert f"Erasure {erasure.pk} in {hub.destination} is not done" in overview
    assert (erasure.state, erasure.error, erasure.failures) == ("done", "", 0)
    assert hub.clusters() == {}
    assert "is not done" not in admin_client.get("/admin/").content.decode()


def move_to(hub, port):
    before = hub.destination.config["port"]
    hub.destination.config["port"] = port
    hub.destination.save()
    return before


def test_beat_does_not_queue_an_erasure_that_has_just_failed(hub):
    erasure = request(hub)
    Erasure.objects.update(state="failed", retry_at=timezone.now() + timedelta(minutes=1))

    enqueue_waiting_work()

    assert cache.get(f"queued:erasure:{erasure.pk}") is None


@pytest.mark.parametrize(
    ("state", "minutes", "text"),
    [
        ("waiting", 4, False),
        ("waiting", 6, "No worker has started it."),
        ("running", 55, False),
        ("running", 65, "It is at 0 %."),
    ],
)
def test_an_erasure_that_does_not_begin_or_end_is_a_problem_on_the_overview(
    hub, admin_client, state, minutes, text
):
    request(hub)
    created_at = timezone.now() - timedelta(minutes=minutes)
    Erasure.objects.update(state=state, created_at=created_at)

    page = admin_client.get("/admin/").content.decode()

    assert ("is not done" in page and text in page) if text else "is not done" not in page


REFUSES = """
CREATE FUNCTION web.refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'keeps %', OLD.user_id; END $$;
CREATE TRIGGER refuse BEFORE DELETE ON web.tracks FOR EACH ROW EXECUTE FUNCTION web.refuse()
"""


def test_an_error_that_quotes_the_person_is_recorded_without_the_value(hub, caplog):
    hub.load(event(1, userId="ann-1", event="Looked"))
    hub.conn.execute(REFUSES)
    erasure = request(hub)

    people_erasure.run_slice(erasure)

    assert erasure.state == "failed"
    assert "keeps [erased]" in erasure.error
    assert "RaiseException" in caplog.text
    assert "ann-1" not in caplog.text


def test_the_command_reports_that_a_worker_will_retry(hub):
    hub.load(event(1, userId="ann-1", event="Looked"))
    hub.conn.execute(REFUSES)

    with pytest.raises(CommandError, match="will be retried by a worker: keeps"):
        call_command("erase_person", hub.destination.name, "ann-1", "--yes")


def test_identifiers_that_no_key_decrypts_fail_the_erasure_and_the_list_still_opens(
    hub, admin_client, settings
):
    erasure = request(hub)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    hub.destination.save()

    continue_erasure(erasure.pk)

    state = Erasure.objects.values_list("state", "error").get()
    assert state == (
        "failed",
        "RUDDERHUB_ENCRYPTION_KEYS cannot decrypt a stored secret",
    )
    assert "failed" in admin_client.get("/admin/destinations/erasure/").content.decode()
    assert "cannot decrypt" in page_of(admin_client, erasure)


def test_refreshes_of_the_page_show_no_reason_and_one_view_is_audited(hub, admin_client):
    erasure = request(hub)
    Erasure.objects.update(reason="their wish", state="failed", error="no answer")

    first = page_of(admin_client, erasure)
    again = [page_of(admin_client, erasure, x_refresh="1") for _ in range(3)]

    assert "their wish" in first
    assert ["no answer" in page and "their wish" not in page for page in again] == [True] * 3
    assert LogEntry.objects.filter(change_message="Viewed personal data.").count() == 1


def test_a_preview_counts_the_newest_part_of_a_log_that_takes_too_long(hub):
    hub.append(event(1, userId="ann-1"), event(2, userId="bob-1"), event(3, userId="bob-1"))
    with database.cursor() as cursor:
        cursor.execute(SKIP_IDS, [DEFAULT_SLICE.ids])
    hub.append(event(4, userId="ann-1"), event(5, userId="ann-1"))

    with store.connect(hub.destination) as identities:
        part = erasure_preview.preview_erasure(hub.destination, identities, [ANN], max_seconds=0)
        whole = erasure_preview.preview_erasure(hub.destination, identities, [ANN])

    assert (part.counts, part.at_least) == ({"event log": 2}, {"event log"})
    assert (whole.counts, whole.at_least) == ({"event log": 3}, frozenset())
    assert not Erasure.objects.exists()


SKIP_IDS = """
SELECT setval(name, nextval(name) + %s)
FROM pg_get_serial_sequence('events_event', 'id') AS name
"""


def test_a_dry_run_shows_a_partial_count_as_a_minimum(hub):
    hub.load(event(1, userId="ann-1", event="Looked"))

    with store.connect(hub.destination) as identities:
        form = {"action": ["erase"], "value": ["ann-1"]}
        dry_run = ActionRequest(
            hub.destination, identities, form, "ada", True, ignore_progress, count_seconds=0
        )
        effect = ACTIONS["erase"].run(dry_run)

    assert ("event log", "at least 1, in the newest part") in effect.lines
    assert ("web.tracks", "1") in effect.lines


def ignore_progress(step, share):
    """Takes a report of progress and does nothing."""


def test_two_erasures_of_one_event_at_once_clear_both_values(hub):
    hub.load(event(1, "alias", userId="ann-1", previousId="bob-1"))
    with store.connect(hub.destination) as identities:
        rules = graph_schema.read_rules(identities.conn, identities.schema)
    sources = {hub.connection("web").source_id: "web"}
    upto = Event.objects.latest("id").pk
    sought = {
        who: LogErasure(sources, ErasedIdentifiers({who: DELETE}), rules) for who in (ANN, BOB)
    }
    other = threading.Thread(target=in_thread, args=(sought[BOB], upto))

    with transaction.atomic():
        sought[ANN].erase(0, upto)
        other.start()
        wait_for(waits_for_lock)
    other.join()

    assert [value for value in ("ann-1", "bob-1") if value in Event.objects.get().payload] == []


def in_thread(sought, upto):
    try:
        with transaction.atomic():
            sought.erase(0, upto)
    finally:
        database.close()


def waits_for_lock():
    with database.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0
