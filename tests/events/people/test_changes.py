from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.db import connection as database
from django.utils import timezone

from destinations.models import Erasure, IdentityChange
from events.log import writer
from events.log.database import log_connection, log_reader
from events.people import changes, store
from events.people import erasure as people_erasure
from events.people.erasure_preview import preview_erasure
from events.tasks import advance_change, enqueue_waiting_work
from events.workers import queue
from events.workers.locks import Lock, try_lock
from tests.support.broker import take_broker_away
from tests.support.events import event
from tests.support.identity_graph import user
from tests.support.people import Hub, advance_changes, everything_stored, run_erasures
from tests.support.wait import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _closed():
    cache.clear()
    yield
    store.close_pooled()
    writer.close_writer()


@pytest.fixture
def hub(warehouse, warehouse_url):
    hub = Hub(warehouse, warehouse_url, {"blocked": True})
    hub.load(event(1, "identify", anonymousId="tablet", userId="ann", traits={"city": "Ulm"}))
    hub.load(event(2, anonymousId="tablet", userId="bob", event="Looked"))
    return hub


def request_change(hub, client, **data):
    """The address of the requested change."""
    return client.post(f"/admin/people/{hub.destination.pk}/act/", data).url


def request_rule(hub, client):
    return request_change(hub, client, action="add_rule", exact="tablet")


def page(client, url, **headers):
    return client.get(url, headers=headers, follow=True).content.decode()


def only_change():
    return IdentityChange.objects.get()


def rules(hub):
    return hub.rows("SELECT exact FROM {schema}.identity_rule_list WHERE actor <> 'default'")


def test_a_request_only_queues_a_preview_and_a_worker_counts(hub, admin_client):
    url = request_rule(hub, admin_client)
    counting = page(admin_client, url)
    is_queued = cache.get(f"queued:change:{only_change().pk}")

    advance_change(only_change().pk)

    assert 'data-live="0.5"' in counting
    assert "A worker is counting the changes" in counting
    assert is_queued
    assert cache.get(f"queued:change:{only_change().pk}") is None
    counted = page(admin_client, url)
    assert "data-live" not in counted
    assert "Profiles: 1 before, 2 after" in counted
    assert rules(hub) == []


def test_beat_queues_waiting_changes_and_nothing_else(hub, admin_client):
    request_rule(hub, admin_client)
    waiting = only_change().pk
    cache.clear()

    enqueue_waiting_work()
    is_queued = cache.get(f"queued:change:{waiting}")
    advance_changes()
    queue.mark_taken(waiting, queue.Work.CHANGE)
    enqueue_waiting_work()

    assert is_queued
    assert cache.get(f"queued:change:{waiting}") is None


def test_without_a_broker_a_change_waits_for_beat(hub, admin_client, monkeypatch, caplog):
    take_broker_away(monkeypatch)

    url = request_rule(hub, admin_client)
    advance_changes()
    admin_client.post(url, {"confirm": "1", "reason": ""})

    assert caplog.text.count("work not queued, beat will: OperationalError") == 2
    assert list(IdentityChange.objects.awaiting_worker()) == [only_change()]
    advance_changes()
    assert rules(hub) == [("tablet",)]


def test_a_change_that_is_confirmed_twice_is_made_once(hub, admin_client):
    url = request_rule(hub, admin_client)
    advance_changes()

    admin_client.post(url, {"confirm": "1", "reason": ""})
    at_work = page(admin_client, url)
    second = admin_client.post(url, {"confirm": "1", "reason": ""}, follow=True).content.decode()
    advance_changes()
    admin_client.post(url, {"confirm": "1", "reason": ""})
    advance_changes()

    assert "A worker is making the changes" in at_work
    assert "This was already confirmed." in second
    assert rules(hub) == [("tablet",)]
    assert "Changes made" in page(admin_client, url)


def test_a_change_without_a_preview_cannot_be_confirmed(hub, admin_client):
    url = request_rule(hub, admin_client)

    admin_client.post(url, {"confirm": "1", "reason": ""})
    advance_changes()

    assert only_change().state == "counted"
    assert rules(hub) == []


def test_a_change_fails_when_its_worker_is_killed(hub, admin_client):
    url = request_rule(hub, admin_client)
    advance_changes()
    IdentityChange.objects.update(state="doing")

    advance_changes()

    shown = page(admin_client, url)
    assert "A worker was stopped during this change" in shown
    assert rules(hub) == []
    entry = LogEntry.objects.latest("pk")
    assert entry.change_message == "Add a rule: a worker was stopped during it."
    again = admin_client.post(url, {}).url
    advance_changes()
    admin_client.post(again, {"confirm": "1", "reason": ""})
    advance_changes()
    assert rules(hub) == [("tablet",)]


def test_two_workers_do_not_make_one_change(hub, admin_client):
    url = request_rule(hub, admin_client)
    advance_changes()
    admin_client.post(url, {"confirm": "1", "reason": ""})

    with log_reader() as other, try_lock(other, Lock.CHANGE, only_change().pk):
        advance_changes()
        left = only_change().state
    advance_changes()

    assert (left, only_change().state) == ("confirmed", "done")
    assert rules(hub) == [("tablet",)]


def test_two_workers_do_not_make_one_change_when_the_lock_of_the_first_is_lost(hub, admin_client):
    url = request_rule(hub, admin_client)
    advance_changes()
    admin_client.post(url, {"confirm": "1", "reason": ""})
    pk = only_change().pk

    with ThreadPoolExecutor() as workers, log_connection() as other, log_connection() as watcher:
        with other.transaction():
            other.execute("SELECT FROM destinations_identitychange FOR UPDATE")
            first = workers.submit(advance_alone, pk)
            wait_for_updates(watcher, 1)
            watcher.execute(END_HOLDER, [pk])
            second = workers.submit(advance_alone, pk)
            wait_for_updates(watcher, 2)
        failures = [first.exception(), second.exception()]

    assert isinstance(failures[0], psycopg.OperationalError)  # it has no lock to give back
    assert failures[1] is None
    assert only_change().state == "done"
    assert rules(hub) == [("tablet",)]


END_HOLDER = """
SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s
"""
WAITING_UPDATES = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE "destinations_identitychange"%'
"""


def advance_alone(pk):
    try:
        changes.advance(pk)
    finally:
        database.close()


def wait_for_updates(conn, count):
    wait_for(lambda: conn.execute(WAITING_UPDATES).fetchone() == (count,))


def test_an_unavailable_warehouse_is_shown_and_queried_again(hub, admin_client):
    config = hub.destination.config
    hub.destination.config = {**config, "port": 1}
    hub.destination.save()
    url = request_rule(hub, admin_client)
    advance_changes()
    shown = page(admin_client, url)
    hub.destination.config = config
    hub.destination.save()

    again = admin_client.post(url, {}).url
    advance_changes()

    assert '<span class="rh-label rh-bad">failed</span>' in shown
    assert "Try again" in shown
    assert "Profiles: 1 before, 2 after" in page(admin_client, again)


def test_without_a_worker_the_page_links_to_the_overview(hub, admin_client):
    url = request_rule(hub, admin_client)
    IdentityChange.objects.update(created_at=timezone.now() - timedelta(seconds=11))

    assert "No worker has started this yet" in page(admin_client, url)


def test_without_a_worker_a_confirmed_change_also_links_to_the_overview(hub, admin_client):
    url = request_change(hub, admin_client, action="erase", value="bob")
    advance_changes()
    IdentityChange.objects.update(created_at=timezone.now() - timedelta(seconds=60))
    admin_client.post(url, {"confirm": "1", "reason": ""})

    at_once = page(admin_client, url)
    IdentityChange.objects.update(created_at=timezone.now() - timedelta(seconds=11))
    later = page(admin_client, url)

    assert "A worker is making the changes</strong></p>" in at_once
    assert "No worker has started this yet" not in at_once
    assert "No worker has started this yet" in later


def test_an_outdated_page_requests_nothing(hub, admin_client):
    url = request_rule(hub, admin_client)
    advance_changes()
    admin_client.post(url, {"confirm": "1", "reason": ""})
    advance_changes()

    shown = admin_client.post(url, {"link": "a b"}, follow=True).content.decode()

    assert "This was already confirmed." in shown
    assert only_change().state == "done"


def test_a_preview_that_cannot_be_shown_cannot_be_confirmed_on_the_page(hub, admin_client):
    url = request_rule(hub, admin_client)
    advance_changes()
    hub.destination.config = {**hub.destination.config, "port": 1}
    hub.destination.save()

    shown = page(admin_client, url)

    assert "Reload the preview" in shown
    assert 'name="confirm"' not in shown


def test_a_user_who_lost_the_permission_confirms_nothing(hub, client):
    user = User.objects.create_user("asker", is_staff=True)
    may = Permission.objects.get(codename="change_destination")
    user.user_permissions.add(may)
    client.force_login(user)
    url = request_rule(hub, client)
    advance_changes()
    user.user_permissions.remove(may)

    answer = client.post(url, {"confirm": "1", "reason": ""})

    assert answer.status_code == 403
    assert only_change().state == "counted"


def test_the_progress_is_shown_and_a_refresh_is_not_audited(hub, admin_client):
    url = request_rule(hub, admin_client)
    IdentityChange.objects.update(step="event log", percent=34)

    pages = [page(admin_client, url, x_refresh="1") for _ in range(3)]

    assert all("event log, 34 %" in content for content in pages)
    assert not LogEntry.objects.exists()


def test_the_preview_of_an_erasure_reports_its_progress(hub):
    reports = []

    with store.connect(hub.destination) as identities:
        preview_erasure(
            hub.destination,
            identities,
            [user("ann")],
            report=lambda step, share: reports.append((step, share)),
        )

    assert reports[:3] == [("warehouse", None), ("event log", None), ("event log", 1.0)]
    assert [step for step, _ in reports[3:]] == ["dead letters", "quarantine", "messages"]


def test_the_preview_of_an_erasure_reports_outside_of_transactions(hub):
    """Within a transaction, the progress would be visible only at its end."""
    within = []

    with store.connect(hub.destination) as identities:
        preview_erasure(
            hub.destination,
            identities,
            [user("ann")],
            report=lambda step, share: within.append(database.in_atomic_block),
        )

    assert within == [False] * 6


def test_only_the_user_who_requested_a_change_sees_it(hub, admin_client, client):
    url = request_rule(hub, admin_client)
    advance_changes()
    client.force_login(User.objects.create_superuser("other", password=None))

    shown = page(client, url)

    assert "This preview has expired" in shown
    client.post(url, {"confirm": "1", "reason": ""})
    advance_changes()
    assert rules(hub) == []


def test_the_form_is_stored_encrypted_and_not_sent_to_the_broker(hub, admin_client, settings):
    request_change(hub, admin_client, action="erase", value="ann")
    advance_changes()
    with database.cursor() as cursor:
        cursor.execute("SELECT form, effect FROM destinations_identitychange")
        form, effect = cursor.fetchone()
    with redis.from_url(settings.CELERY_BROKER_URL) as broker:
        messages = [*broker.lrange("celery", 0, -1), *broker.hvals("unacked")]

    assert only_change().form["value"] == ["ann"]
    assert ["user_id", "ann"] in only_change().effect["erased"]
    assert b"ann" not in bytes(form) + bytes(effect)
    assert [message for message in messages if b'"ann"' in message] == []


def test_an_erasure_deletes_requests_and_previews_of_changes(hub, admin_client):
    request_rule(hub, admin_client)
    url = request_change(hub, admin_client, action="erase", value="bob")
    advance_changes()
    admin_client.post(url, {"confirm": "1", "reason": ""})
    advance_changes()
    erasure_url = admin_client.get(url).url

    run_erasures()

    assert erasure_url == f"/admin/destinations/erasure/{Erasure.objects.get().pk}/change/"
    assert [(change.form, change.effect) for change in IdentityChange.objects.all()] == [({}, {})]
    assert "tablet" not in everything_stored(hub)
    assert admin_client.get(url).url == erasure_url


def test_a_confirmed_erasure_is_queued(hub, admin_client):
    url = request_change(hub, admin_client, action="erase", value="bob")
    advance_changes()
    admin_client.post(url, {"confirm": "1", "reason": ""})
    advance_changes()

    erasure = Erasure.objects.get()
    assert cache.get(f"queued:erasure:{erasure.pk}")
    people_erasure.run(erasure)
    assert hub.clusters() == {}


def test_an_unconfirmed_change_is_deleted_after_an_hour(hub, admin_client):
    url = request_rule(hub, admin_client)
    request_rule(hub, admin_client)
    old, new = IdentityChange.objects.order_by("pk")
    IdentityChange.objects.filter(pk=old.pk).update(
        created_at=timezone.now() - changes.KEPT - timedelta(seconds=1)
    )

    changes.delete_old(timezone.now())

    assert only_change() == new
    assert "This preview has expired" in page(admin_client, url)
    assert page(admin_client, url, x_refresh="1") == ""


def test_the_option_that_a_null_clears_a_trait_is_previewed_and_set(hub, admin_client):
    hub.load(event(5, "identify", userId="ann", traits={"city": None}))
    assert [*hub.rows("SELECT traits FROM {schema}.rudder_profiles")] == [({"city": "Ulm"},)]

    url = request_change(hub, admin_client, action="limits", null_clears="yes")
    advance_changes()
    counted = page(admin_client, url)
    before = hub.rows("SELECT traits FROM {schema}.rudder_profiles")
    admin_client.post(url, {"confirm": "1", "reason": ""})
    advance_changes()

    assert "<td>Null clears</td>" in counted
    assert before == [({"city": "Ulm"},)]
    assert hub.rows("SELECT traits FROM {schema}.rudder_profiles") == [({},)]
