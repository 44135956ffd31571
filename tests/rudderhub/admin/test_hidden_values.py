"""What who may not see personal data can find out by asking for it."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache

from events.models import DeadLetter
from events.workers.errors import fingerprint
from rudderhub.admin.base.personal_data_audit import LIST_READ
from tests.support.factories import make_connection, make_event, make_source

pytestmark = pytest.mark.django_db

OF_ANN = {"user_id": "ann@shop.example", "payload": '{"traits": {"plan": "gold"}}'}


@pytest.fixture(autouse=True)
def _fresh():
    cache.clear()


@pytest.mark.parametrize(
    "guess",
    [
        "event/?user_id__startswith=a",
        "event/?payload__contains=gold",
        "quarantined/?reason__startswith=a",
        "quarantined/?body=a",
        "deadletter/?payload__contains=gold",
        "deadletter/?reason__contains=gold",
    ],
)
def test_no_filter_reveals_a_hidden_value_letter_by_letter(staff_client, guess):
    analyst = staff_client(role="Analyst")

    assert analyst.get(f"/admin/events/{guess}").status_code == 400


@pytest.mark.parametrize(
    ("role", "text", "count"),
    [
        ("Analyst", "ann@shop", 0),
        ("Analyst", "gold", 0),
        ("Analyst", "ann@shop.example", 1),
        ("Privacy officer", "gold", 1),
    ],
)
def test_without_the_permission_an_event_is_found_only_by_its_whole_id(
    staff_client, role, text, count
):
    make_event(**OF_ANN)

    page = staff_client(role=role).get("/admin/events/event/", {"q": text})

    assert len(page.context_data["cl"].result_list) == count


@pytest.mark.parametrize(("role", "count"), [("Read-only", 0), ("Privacy officer", 1)])
def test_a_search_of_refused_bodies_and_reasons_requires_the_permission(staff_client, role, count):
    make_source().quarantined.create(
        route="/v1/track", status=400, reason='type is "gold"', body=b"{gold}", body_bytes=6
    )
    reader = staff_client(role=role)

    for text in ("gold", "{gol"):
        page = reader.get("/admin/events/quarantined/", {"q": text})
        assert len(page.context_data["cl"].result_list) == count


def test_dead_letters_are_searched_by_the_kind_of_their_reason(staff_client):
    reason = 'name is "Ann"'
    DeadLetter.objects.create(
        connection=make_connection(),
        event_id=1,
        message_id="m1",
        payload="{}",
        reason=reason,
        kind=fingerprint(reason),
    )
    analyst = staff_client(role="Analyst")

    counts = [
        len(analyst.get("/admin/events/deadletter/", {"q": text}).context_data["cl"].result_list)
        for text in ("Ann", "name is")
    ]

    assert counts == [0, 1]


def test_a_list_that_refreshes_itself_is_logged_as_one_view(staff_client):
    officer = staff_client(role="Privacy officer")

    for _ in range(3):
        officer.get("/admin/events/event/")

    entry = LogEntry.objects.get()
    assert (entry.object_repr, entry.get_change_message()) == ("events", LIST_READ)
