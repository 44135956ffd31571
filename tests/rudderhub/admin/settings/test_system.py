from __future__ import annotations

import re
import socket
from datetime import timedelta

import pytest
import time_machine
from celery.contrib.testing.worker import start_worker
from django.core.cache import cache
from django.utils import timezone

from events.gateway import disk_space
from events.tasks import count_log
from rudderhub.admin.settings import system
from rudderhub.celery import app
from tests.support.wait import wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()


def parts(client):
    response = client.get("/admin/system/")
    assert response.status_code == 200
    return {part.name: part for part in response.context["parts"]}


def test_parts_that_answer_are_shown_as_working_with_their_versions(admin_client):
    statuses = parts(admin_client)

    assert {name for name, part in statuses.items() if part.kind == "good"} == {
        *("Postgres", "Cache", "Broker", "Disk")
    }
    assert "PostgreSQL" in statuses["Postgres"].detail
    assert "Valkey" in statuses["Cache"].detail


def state_and_detail(client, name):
    part = parts(client)[name]
    return part.word, part.detail


@pytest.fixture
def worker():
    with start_worker(app, perform_ping_check=False, pool="solo"):
        yield


def test_without_a_worker_the_page_says_that_nothing_is_loaded(admin_client):
    assert state_and_detail(admin_client, "Workers") == (
        "does not work",
        "no worker answers; nothing is loaded until one runs",
    )
    assert (
        "Start the worker from the Procfile." in admin_client.get("/admin/system/").content.decode()
    )


def test_the_last_task_of_beat_is_its_heartbeat(admin_client):
    count_log()

    word, detail = state_and_detail(admin_client, "Beat")

    assert word == "works"
    assert re.fullmatch(r"last heartbeat \d s ago; counters up to date", detail)


def test_beat_does_not_work_if_it_is_silent_while_a_worker_answers(admin_client, worker):
    silent = ("does not work", "no heartbeat for 5 minutes; scheduled work waits")
    wait_for(lambda: state_and_detail(admin_client, "Workers")[0] == "works")
    assert len({system.answering_worker(ping_seconds=60) for _ in range(5)}) == 1
    count_log()

    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        wait_for(lambda: state_and_detail(admin_client, "Beat") == silent)


def test_the_state_of_beat_is_unknown_without_a_worker(admin_client):
    assert state_and_detail(admin_client, "Beat") == (
        "unknown",
        "no heartbeat yet, but workers record it, and none answers",
    )


def test_a_cache_that_is_away_is_named_and_stops_no_counting(admin_client, settings):
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    }

    count_log()

    assert state_and_detail(admin_client, "Cache")[0] == "does not work"
    assert state_and_detail(admin_client, "Beat") == (
        "unknown",
        "the cache, which stores the heartbeat, does not answer",
    )


def test_a_broker_that_never_answers_is_given_up_and_leaves_workers_uncertain(
    admin_client, monkeypatch
):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        monkeypatch.setattr(app.conf, "broker_url", address)
        monkeypatch.setattr(app, "_pool", None)
        statuses = parts(admin_client)

    assert statuses["Broker"].word == "does not work"
    assert "Start it, or correct RUDDERHUB_BROKER_URL" in statuses["Broker"].remedy
    assert statuses["Workers"].word == "unknown"


def test_the_page_judges_the_disk_as_the_gateway_does(admin_client, settings, tmp_path):
    settings.DATA_DIR = None
    elsewhere = state_and_detail(admin_client, "Disk")
    settings.DATA_DIR = tmp_path
    free, _ = disk_space.space_mb(tmp_path)
    settings.MIN_FREE_MB = free // 3
    disk_space.expire_shortage()
    scarce = state_and_detail(admin_client, "Disk")
    settings.MIN_FREE_MB = 10**9
    disk_space.expire_shortage()
    full = state_and_detail(admin_client, "Disk")
    disk_space.expire_shortage()

    assert elsewhere[1].endswith("Postgres has its own disk")
    assert scarce[0] == "is nearly full"
    assert full[0] == "does not work"
    assert full[1].endswith(
        "fewer than RUDDERHUB_MIN_FREE_MB=1000000000; events are refused with 503"
    )


def test_secrets_are_hidden_and_other_settings_shown(admin_client):
    values = dict(admin_client.get("/admin/system/").context["values"])

    hidden = {name for name, value in values.items() if value == "•••"}
    assert {"RUDDERHUB_SECRET_KEY", "RUDDERHUB_ENCRYPTION_KEYS"} <= hidden
    assert values["RUDDERHUB_CACHE_URL"].startswith("redis://")
    assert values["RUDDERHUB_UNKNOWN_KEYS_PER_MINUTE"] == "600"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (
            "postgresql://u:s3cret@db.example:5433/hub?password=s3cret",
            "postgresql://db.example:5433/hub",
        ),
        ("rediss://:s3cret@cache/0", "rediss://cache/0"),
        ("https://events.example", "https://events.example"),
        ("redis://:s3c/ret@cache/0", "•••"),
        ("redis://:12/s3cret@cache/0", "•••"),
        ("redis://:12?s3cret@cache/0", "•••"),
        ("redis://:12#s3cret@cache/0", "•••"),
        ("redis://:[s3cret@cache/0", "•••"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_its_password(admin_client, monkeypatch, url, shown):
    monkeypatch.setenv("RUDDERHUB_BROKER_URL", url)

    page = admin_client.get("/admin/system/")

    assert dict(page.context["values"])["RUDDERHUB_BROKER_URL"] == shown
    assert "s3cret" not in page.content.decode()


def test_the_page_leads_to_people_and_the_audit_log(admin_client):
    page = admin_client.get("/admin/system/").content.decode()

    assert "1 active user<" in page
    assert "/admin/auth/group/" in page
    assert "rudderhub <strong>" in page


def test_the_audit_log_requires_its_permission(staff_client):
    client = staff_client("view_user")

    assert "Full audit log" not in client.get("/admin/system/").content.decode()


def test_the_page_requires_the_permission_to_view_users(staff_client):
    client = staff_client()

    assert client.get("/admin/system/").status_code == 403
