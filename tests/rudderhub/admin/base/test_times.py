"""Times are relative on every page, with the exact one on hover."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.utils import timezone

from tests.support.factories import make_admin, make_write_key

pytestmark = pytest.mark.django_db

ABSOLUTE = re.compile(r">[^<]*\b20\d\d\b[^<]*<")
"""A year in a text, not in an attribute."""


@pytest.fixture
def shown(client):
    """The main part of a page."""
    user = make_admin()
    client.force_login(user)
    LogEntry.objects.log_actions(user.pk, [user], CHANGE, "Moved.", single_object=True)

    def main_part(path):
        page = client.get(f"/admin/{path}").content.decode()
        return page[page.index('id="content"') :]

    return main_part


@pytest.mark.parametrize("path", ["auth/user/", "admin/logentry/", "sessions/session/", "system/"])
def test_times_of_users_and_of_what_they_did(shown, path):
    page = shown(path)

    assert ABSOLUTE.findall(page) == []
    assert re.search(r'<time [^>]*title="[^"]+ UTC">(\d+ s ago|in [^<]+)</time>', page)


def test_the_last_use_of_a_key_that_is_replaced(shown):
    key = make_write_key(last_used_at=timezone.now())

    page = shown(f"sources/source/{key.source_id}/keys/{key.pk}/rotate/")

    assert re.search(r"The key was last used <time [^>]+>0 s ago</time>", page)
