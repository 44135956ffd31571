"""Every page of the admin, asked for by each role."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache

from events.log import writer
from events.people import store
from events.workers import queue
from tests.support.admin_pages import MARKS, TAG, changes, looks, make_marked, pages, shown

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh():
    cache.clear()
    yield
    store.close_pooled()
    writer.close_writer()
    queue.close_enqueuer()


@pytest.fixture
def marked(warehouse, warehouse_url):
    import_module("rudderhub.migrations.0001_roles").make_roles(apps, None)  # flushed by others
    return make_marked(warehouse, warehouse_url)


def all_but_personal_data(client):
    user = User.objects.create_user("strange", is_staff=True)
    user.user_permissions.add(*Permission.objects.exclude(codename="view_personal_data"))
    client.force_login(user)
    return client


def has_mark(text):
    return any(mark in text for mark in MARKS)


def test_every_page_hides_personal_data_without_the_permission(marked, client):
    stranger = all_but_personal_data(client)

    answers = {str(page): shown(stranger, page) for page in pages(marked)}
    previews = {str(page): shown(stranger, page) for page in changes()}
    answers |= previews

    assert "•••" in str(previews)
    assert [page for page, text in answers.items() if has_mark(text)] == []


def test_each_view_of_personal_data_is_in_the_audit_log_without_the_data(marked, staff_client):
    officer = staff_client(role="Privacy officer")
    unnoted, tagged, seen = [], [], 0

    for page in looks(marked):
        before = LogEntry.objects.count()
        text = shown(officer, page)
        seen += has_mark(text)
        unnoted += [str(page)] * (has_mark(text) and LogEntry.objects.count() == before)
        tagged += [str(page)] * (TAG in text and "text/html" in text)

    assert unnoted == []
    assert tagged == []
    assert seen > 20  # pages with a mark: the data of these tests is there
    assert not has_mark(str(LogEntry.objects.values_list("object_repr", "change_message")))
