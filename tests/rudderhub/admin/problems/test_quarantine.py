from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache

from events.log import writer
from events.models import Event, Quarantined
from events.workers import queue
from tests.support.factories import make_source, make_write_key
from tests.support.http import basic_token

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/events/quarantined/"


@pytest.fixture(autouse=True)
def _fresh():
    cache.clear()
    yield
    writer.close_writer()
    queue.close_enqueuer()


@pytest.fixture
def key():
    return make_write_key(make_source(name="Shop"))


def send(client, key, body, path="/v1/track"):
    headers = {"HTTP_AUTHORIZATION": f"Basic {basic_token(key.key)}"}
    return client.post(path, body, content_type="application/json", **headers)


def listed_pks(client, **query):
    response = client.get(LIST, query)
    assert response.status_code == 200
    return [request.pk for request in response.context["cl"].result_list]


def test_a_refused_request_is_found_by_any_text_of_its_body(admin_client, key):
    send(admin_client, key, '{"messageId":"m1","userId":"u"}')
    send(admin_client, key, '{"messageId":"m2","userId":"u"}')
    first, second = Quarantined.objects.order_by("id")

    assert listed_pks(admin_client, q="m1") == [first.pk]
    assert listed_pks(admin_client, q='"m2"') == [second.pk]
    assert listed_pks(admin_client, q="/v1/track") == [second.pk, first.pk]
    assert listed_pks(admin_client, q="m3") == []
    assert listed_pks(admin_client, q="m1", status__exact="413") == []


def test_refused_is_a_status_that_leads_from_live_events_to_the_quarantine(admin_client):
    answer = admin_client.get("/admin/events/event/", {"status": "refused", "q": "m 1"})

    assert answer["Location"] == f"{LIST}?q=m+1"


def test_discarding_is_shown_first_and_takes_a_note(admin_client, key):
    send(admin_client, key, "{")
    send(admin_client, key, "[")
    chosen = [str(pk) for pk in Quarantined.objects.values_list("pk", flat=True)]
    form = {"action": "discard", "_selected_action": chosen}

    asked = admin_client.post(LIST, form).content.decode()
    without = admin_client.post(LIST, {**form, "confirm": "1", "note": ""}).content.decode()
    before = listed_pks(admin_client)
    admin_client.post(LIST, {**form, "confirm": "1", "note": "a scanner"})

    assert "<td>Shop</td>" in asked
    assert "Add a note" in without
    assert len(before) == 2
    assert listed_pks(admin_client) == []
    assert len(listed_pks(admin_client, state="discarded")) == 2
    kept = Quarantined.objects.first()
    assert (kept.discarded_by, kept.note) == ("ada", "a scanner")
    assert LogEntry.objects.filter(
        change_message="Discarded 2 refused requests: a scanner", user__username="ada"
    ).exists()


def test_one_is_discarded_from_its_page(admin_client, key):
    send(admin_client, key, "{")
    refused = Quarantined.objects.get()
    url = f"{LIST}{refused.pk}/discard/"

    offered = admin_client.get(f"{LIST}{refused.pk}/change/").content.decode()
    admin_client.post(url, {"confirm": "1", "note": "a scanner"})
    after = admin_client.get(f"{LIST}{refused.pk}/change/").content.decode()

    assert url in offered
    assert url not in after
    assert "by ada: a scanner" in after


def test_what_was_sent_again_leaves_the_list(admin_client, key):
    send(admin_client, key, '{"userId":"u"}')
    refused = Quarantined.objects.get()

    admin_client.post(f"{LIST}{refused.pk}/send-again/", {"body": '{"userId":"u","event":"E"}'})

    assert Event.objects.get().event == "E"
    assert listed_pks(admin_client) == []
    assert (
        listed_pks(admin_client, state="sent")
        == listed_pks(admin_client, state="all")
        == [refused.pk]
    )


def test_sending_many_again_is_shown_before_it_is_done(admin_client, key):
    send(admin_client, key, "{")
    chosen = [Quarantined.objects.get().pk]

    asked = admin_client.post(LIST, {"action": "send_again", "_selected_action": chosen})

    assert "Send them again" in asked.content.decode()
    assert not LogEntry.objects.filter(change_message__startswith="Sent again").exists()


def test_an_export_holds_the_bodies_and_leaves_an_audit_line(admin_client, key):
    send(admin_client, key, '{"userId":"é"}')
    send(admin_client, key, b"\xff")
    chosen = list(Quarantined.objects.values_list("pk", flat=True))

    answer = admin_client.post(LIST, {"action": "export", "_selected_action": chosen})

    lines = [json.loads(line) for line in b"".join(answer.streaming_content).splitlines()]
    assert [line.get("body", line.get("body_base64")) for line in lines] == [
        "/w==",
        '{"userId":"é"}',
    ]
    assert {(line["source"], line["status"]) for line in lines} == {("Shop", 400)}
    assert LogEntry.objects.filter(change_message="Exported 2 refused requests.").exists()


def test_a_user_who_may_only_view_neither_discards_nor_exports(client, staff_client, key):
    send(client, key, "{")
    pk = Quarantined.objects.get().pk
    viewer = staff_client("view_quarantined")

    answer = viewer.post(f"{LIST}{pk}/discard/", {"confirm": "1", "note": "n"})
    export = viewer.post(LIST, {"action": "export", "_selected_action": [pk]})

    assert answer.status_code == 403
    assert "attachment" not in export.get("Content-Disposition", "")
    assert Quarantined.objects.get().discarded_at is None
