from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User

from events.protocol.masking import masked_json
from tests.support.factories import make_event, make_source

pytestmark = pytest.mark.django_db

ANN = '{"type": "track", "userId": "ann@shop.example", "properties": {"plan": "gold", "n": 1}}'


@pytest.mark.parametrize(
    ("role", "can", "cannot"),
    [
        ("Admin", "auth.change_user", "none.none"),
        ("Source manager", "sources.add_source", "destinations.change_destination"),
        ("Analyst", "events.view_event", "events.view_personal_data"),
        ("Privacy officer", "events.view_personal_data", "sources.change_source"),
        ("Read-only", "sources.view_source", "sources.change_source"),
    ],
)
def test_roles_are_groups_with_permissions(role, can, cannot):
    user = User.objects.create_user("someone")
    user.groups.add(Group.objects.get(name=role))

    assert user.has_perm(can)
    assert not user.has_perm(cannot)


def test_an_analyst_sees_no_personal_data(staff_client):
    event = make_event(user_id="ann@shop.example", payload=ANN)
    analyst = staff_client(role="Analyst")

    listed = analyst.get("/admin/events/event/").content.decode()
    trace = analyst.get(f"/admin/events/event/{event.pk}/change/").content.decode()

    assert "ann@shop.example" not in listed + trace
    assert "gold" not in trace
    assert "plan" in trace


def test_a_view_of_personal_data_is_in_the_audit_log(staff_client):
    event = make_event(user_id="ann@shop.example", payload=ANN)
    officer = staff_client(role="Privacy officer")

    trace = officer.get(f"/admin/events/event/{event.pk}/change/").content.decode()

    assert "ann@shop.example" in trace
    assert LogEntry.objects.get().get_change_message() == "Viewed personal data."
    assert "Viewed personal data." in officer.get("/admin/admin/logentry/").content.decode()


def test_a_quarantined_body_is_masked(staff_client):
    refused = make_source().quarantined.create(
        route="/v1/track", status=400, reason="r", body=ANN.encode(), body_bytes=len(ANN)
    )

    html = staff_client(role="Analyst").get(f"/admin/events/quarantined/{refused.pk}/change/")

    assert "ann@shop" not in html.content.decode()


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        (
            '{"properties": {"type": "gold", "event": "x"}}',
            '{"properties": {"type": "•••", "event": "•••"}}',
        ),
        ('{"traits": {"is_ill": true}}', '{"traits": {"is_ill": "•••"}}'),
        ('{"type": "ann@x.example", "sentAt": "Ann"}', '{"type": "•••", "sentAt": "•••"}'),
        (
            '{"batch": [{"type": "page", "userId": "ann"}]}',
            '{"batch": [{"type": "page", "userId": "•••"}]}',
        ),
        ('[{"event": {"type": "page"}}]', '[{"event": {"type": "•••"}}]'),
    ],
)
def test_only_an_events_own_names_and_times_stay(body, masked):
    assert masked_json(body) == masked


def test_masking_keeps_the_shape():
    assert masked_json('{"type": "page", "traits": {"a": [1, null]}, "messageId": "m"}') == (
        '{"type": "page", "traits": {"a": ["•••", null]}, "messageId": "m"}'
    )
    assert masked_json("no json") == "•••"
