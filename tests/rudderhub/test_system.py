from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.utils import timezone

from events.tasks import count_log
from tests.factories import make_admin

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()


@pytest.fixture
def admin(client):
    client.force_login(make_admin())
    return client


def parts(client):
    response = client.get("/admin/system/")
    assert response.status_code == 200
    return {part.name: part for part in response.context["parts"]}


def test_what_answers_is_said_to_work_with_its_version(admin):
    found = parts(admin)

    assert {name for name, part in found.items() if part.good} == {
        *("Postgres", "Cache", "Broker", "Disk")
    }
    assert "PostgreSQL" in found["Postgres"].detail
    assert "Valkey" in found["Cache"].detail


def test_without_a_worker_the_page_says_what_stands_still(admin):
    assert parts(admin)["Workers"].detail == "no worker answers: nothing is loaded until one runs"


def test_beat_is_heard_by_the_work_that_it_has_done(admin):
    before = parts(admin)["Beat"]
    count_log()
    heard = parts(admin)["Beat"]
    with time_machine.travel(timezone.now() + timedelta(minutes=5)):
        later = parts(admin)["Beat"]

    assert (before.good, before.detail) == (
        False,
        "nothing was heard yet: scheduled work waits for it",
    )
    assert (heard.good, heard.detail) == (
        True,
        "heard 0 s ago; 0 events of the log are not counted yet",
    )
    assert (later.good, later.detail) == (
        False,
        "nothing was heard for 5 minutes: scheduled work waits for it",
    )


def test_a_cache_that_is_away_is_named_and_stops_no_counting(admin, settings):
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    }

    count_log()

    assert not parts(admin)["Cache"].good


def test_secrets_are_hidden_and_other_settings_shown(admin):
    values = dict(admin.get("/admin/system/").context["values"])

    hidden = {name for name, value in values.items() if value == "•••"}
    assert {"RUDDERHUB_SECRET_KEY", "RUDDERHUB_ENCRYPTION_KEYS"} <= hidden
    assert {"RUDDERHUB_DATABASE_URL", "RUDDERHUB_CACHE_URL"} <= hidden
    assert values["RUDDERHUB_UNKNOWN_KEYS_PER_MINUTE"] == "600"


def test_the_page_leads_to_people_and_the_audit_log(admin):
    page = admin.get("/admin/system/").content.decode()

    assert "1 active user<" in page
    assert "/admin/auth/group/" in page
    assert "rudderhub <strong>" in page


def test_who_may_not_see_the_audit_log_sees_no_line_of_it(client):
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    client.force_login(user)

    assert "The whole audit log" not in client.get("/admin/system/").content.decode()


def test_who_may_not_see_users_sees_no_system(client):
    client.force_login(User.objects.create_user("newcomer", is_staff=True))

    assert client.get("/admin/system/").status_code == 403
