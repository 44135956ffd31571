from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.admin.models import LogEntry

from sources.models import Source, WriteKey
from tests.support.factories import make_source, make_write_key
from tests.support.http import html

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

pytestmark = pytest.mark.django_db


def form_of(source: Source, **fields: object) -> dict[str, object]:
    return {
        "name": source.name,
        "type": source.type,
        "enabled": "on",
        "on_invalid_event": "reject",
        "rate_limit_window_seconds": "60",
        "write_keys-TOTAL_FORMS": "0",
        "write_keys-INITIAL_FORMS": "0",
        **fields,
    }


def test_a_new_source_has_a_write_key_and_ready_snippets(admin_client):
    form = {"name": "Shop", "type": "Javascript"}

    shown = html(admin_client.post("/admin/sources/source/add/", form, follow=True))

    key = WriteKey.objects.get(source__name="Shop").key
    assert f"curl http://127.0.0.1:8000/v1/track -u &#x27;{key}:&#x27;" in shown
    assert f"pixel/v1/track.gif?writeKey={key}&amp;amp;anonymousId=ann" in shown


def test_rotating_keeps_both_keys_until_the_overlap_ends(admin_client):
    old = make_write_key()
    url = f"/admin/sources/source/{old.source_id}/keys/{old.pk}/rotate/"

    with time_machine.travel(NOON, tick=False):
        admin_client.post(url)

    keys = old.source.write_keys
    assert keys.active(NOON + timedelta(hours=23, minutes=59)).count() == 2
    assert list(keys.active(NOON + timedelta(hours=24))) == [keys.exclude(pk=old.pk).get()]


def test_a_rotated_key_is_not_rotated_again(admin_client):
    key = make_write_key(revoked_at=datetime.now(UTC) + timedelta(hours=1))

    shown = admin_client.post(
        f"/admin/sources/source/{key.source_id}/keys/{key.pk}/rotate/", follow=True
    )

    assert "was already rotated or revoked" in html(shown)
    assert key.source.write_keys.count() == 1


def test_two_rotations_of_a_key_at_once_create_one_new_key():
    key = make_write_key()
    same = WriteKey.objects.get(pk=key.pk)

    answers = [copy.rotate(datetime.now(UTC)) for copy in (key, same)]

    assert answers == [WriteKey.objects.latest("pk"), None]


def test_a_key_that_was_revoked_in_another_tab_says_so(admin_client):
    key = make_write_key(revoked_at=NOON)
    url = f"/admin/sources/source/{key.source_id}/keys/{key.pk}/revoke/"

    shown = html(admin_client.post(url, follow=True))

    assert "was already rotated or revoked" in shown
    key.refresh_from_db()
    assert key.revoked_at == NOON


@pytest.mark.parametrize(
    ("kind", "first"), [("Javascript", "JavaScript"), ("Python", "Python"), ("iOS", "curl")]
)
def test_the_lines_for_the_source_come_first(admin_client, kind, first):
    source = make_write_key(make_source(type=kind)).source

    shown = admin_client.get(f"/admin/sources/source/{source.pk}/change/")

    assert shown.context["snippets"][0].title == first
    assert f"shown: '{first}'" in html(shown)


def test_a_key_is_revoked_after_confirmation(admin_client):
    key = make_write_key()
    url = f"/admin/sources/source/{key.source_id}/keys/{key.pk}/revoke/"

    asked = html(admin_client.get(url))
    still_active = key.source.write_keys.active(datetime.now(UTC)).exists()
    admin_client.post(url)

    assert "Other active keys of this source: 0." in asked
    assert still_active
    assert not key.source.write_keys.active(datetime.now(UTC)).exists()


def test_adding_a_key_leaves_the_others(admin_client):
    key = make_write_key()

    admin_client.post(f"/admin/sources/source/{key.source_id}/keys/add/")

    assert key.source.write_keys.active(datetime.now(UTC)).count() == 2


def test_another_sources_key_is_not_reached(admin_client):
    key, other = make_write_key(), make_source()

    assert (
        admin_client.post(f"/admin/sources/source/{other.pk}/keys/{key.pk}/revoke/").status_code
        == 404
    )


def test_the_change_history_names_a_key_without_giving_it_away(admin_client):
    key = make_write_key()

    admin_client.post(f"/admin/sources/source/{key.source_id}/keys/{key.pk}/revoke/")

    entry = LogEntry.objects.get()
    assert entry.change_message == f"Revoked write key {key.key[:6]}…."


def test_a_user_who_may_only_view_cannot_revoke_a_key(staff_client):
    key = make_write_key()
    client = staff_client("view_source")

    answer = client.post(f"/admin/sources/source/{key.source_id}/keys/{key.pk}/revoke/")

    assert answer.status_code == 403
    assert key.source.write_keys.active(datetime.now(UTC)).exists()


def test_a_source_without_an_active_key_says_so_in_place_of_snippets(admin_client):
    key = make_write_key(revoked_at=NOON)

    shown = html(admin_client.get(f"/admin/sources/source/{key.source_id}/change/"))

    assert "This source has no active write key" in shown


def test_origins_are_entered_one_a_line_and_kept_as_browsers_send_them(admin_client):
    source = make_source()
    typed = "https://Shop.example/\r\nhttp://localhost:3000\r\nhttps://a.example:443\r\n"

    admin_client.post(
        f"/admin/sources/source/{source.pk}/change/", form_of(source, allowed_origins=typed)
    )

    source.refresh_from_db()
    assert source.allowed_origins == [
        "https://shop.example",
        "http://localhost:3000",
        "https://a.example",
    ]
    shown = html(admin_client.get(f"/admin/sources/source/{source.pk}/change/"))
    assert "https://shop.example\nhttp://localhost:3000\nhttps://a.example" in shown


@pytest.mark.parametrize("typed", ["shop.example", "https://shop.example/path", "ftp://a", "*"])
def test_an_invalid_origin_is_rejected_with_a_message(admin_client, typed):
    source = make_source(allowed_origins=["https://old.example"])
    form = form_of(source, allowed_origins=typed)

    shown = html(admin_client.post(f"/admin/sources/source/{source.pk}/change/", form))

    assert f"{typed} is not an origin" in shown
    source.refresh_from_db()
    assert source.allowed_origins == ["https://old.example"]


def test_sources_are_disabled_and_enabled_from_the_list(admin_client):
    one, two = make_source(), make_source(enabled=False)
    both = {"_selected_action": [one.pk, two.pk]}

    admin_client.post("/admin/sources/source/", both | {"action": "disable"})
    after_disabling = set(Source.objects.values_list("enabled", flat=True))
    admin_client.post("/admin/sources/source/", both | {"action": "enable"})

    assert after_disabling == {False}
    assert set(Source.objects.values_list("enabled", flat=True)) == {True}


def test_the_list_is_searched_by_name_and_by_write_key(admin_client):
    key = make_write_key(make_source(name="Found"))
    make_source(name="Elsewhere")

    by_name = html(admin_client.get("/admin/sources/source/", {"q": "foun"}))
    by_key = html(admin_client.get("/admin/sources/source/", {"q": key.key}))

    assert "Found" in by_name
    assert "Elsewhere" not in by_name
    assert "Found" in by_key
    assert "Elsewhere" not in by_key


def test_an_empty_list_says_what_a_source_is(admin_client):
    assert "Add one to get a write key." in html(admin_client.get("/admin/sources/source/"))


def test_deleting_a_source_says_what_goes_and_what_stays(admin_client):
    source = make_write_key().source
    url = f"/admin/sources/source/{source.pk}/delete/"

    asked = html(admin_client.get(url))
    admin_client.post(url, {"post": "yes"})

    assert "The event log and warehouse tables are kept." in asked
    assert not Source.objects.exists()
