from __future__ import annotations

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import override_settings

from events.gateway import disk_space
from events.gateway.operator_request import Outcome
from events.gateway.quarantine import discard_requests
from events.gateway.resend import (
    AlreadyAcceptedError,
    resend_request,
    resend_waiting,
    waiting_requests,
)
from events.models import Event, Quarantined
from events.tasks import enqueue_waiting_work, send_quarantined_again
from tests.support.broker import take_broker_away
from tests.support.factories import make_admin, make_source, make_write_key
from tests.support.http import basic_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_process")]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
FILLED = ("messageId", "receivedAt", "sentAt", "originalTimestamp", "timestamp")


def send(client, key, path, body, content_type=JSON, **headers):
    if path.startswith(("/pixel", "/v1/pixel")):
        return client.get(f"{path}?{body}&writeKey={key.key}", REMOTE_ADDR="192.0.2.9")
    user = key.source.public_id if path.startswith("/internal/v1/b") else key.key
    headers |= {"HTTP_AUTHORIZATION": f"Basic {basic_token(user)}", "REMOTE_ADDR": "192.0.2.9"}
    return client.post(path, body, content_type=content_type, **headers)


def stored_payloads():
    return [json.loads(event.payload) for event in Event.objects.order_by("id")]


def without_times(event):
    return {name: value for name, value in event.items() if name not in FILLED}


ROUTES = [
    ("/v1/track", '{"userId":"u"}', '{"userId":"u","event":"E"}'),
    ("/v1/t", '{"anonymousId":7}', '{"anonymousId":7,"event":"E","writeKey":"k"}'),
    ("/v1/batch", '{"batch":[{}]}', '{"batch":[{"type":"page","userId":"u"}],"sentAt":5}'),
    ("/v1/b", "[]", '{"batch":[{"type":"PAGE","userId":"u"}]}'),
    ("/v1/import", "{", '{"batch":[{"type":"identify","userId":"u"}]}'),
    ("/pixel/v1/track", "userId=u", "userId=u&event=E+1&properties.a.b=%C3%A9"),
    ("/v1/pixel/page.gif", "data=e30", "data=e30=&anonymousId=a&name="),
    ("/internal/v1/batch", "[{}]", '[{"payload":{"type":"record","userId":"u"}}]'),
    ("/internal/v1/extract", "5", '{"event":"rows"}'),
]


@pytest.mark.parametrize(("path", "bad", "good"), ROUTES)
def test_a_repaired_request_is_stored_as_if_it_had_been_sent(client, path, bad, good):
    key = make_write_key()
    send(client, key, path, bad)
    refused = Quarantined.objects.get()
    answer = send(client, key, path, good)

    outcome = resend_request(refused.pk, good.encode())

    assert (outcome.status, outcome.answer) == (200, answer.content.decode(errors="replace"))
    by_sender, by_operator = stored_payloads()
    assert without_times(by_operator) == without_times(by_sender)
    assert by_operator["request_ip"] == "192.0.2.9"
    arrived = refused.received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert by_operator["receivedAt"] == arrived


@pytest.mark.parametrize(("path", "bad", "good"), ROUTES)
def test_a_request_that_is_still_invalid_is_refused_with_the_same_words(client, path, bad, good):
    send(client, make_write_key(), path, bad)
    refused = Quarantined.objects.get()

    outcome = resend_request(refused.pk)

    assert not outcome.accepted
    assert outcome.answer == refused.reason
    assert Quarantined.objects.count() == 1
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    ("path", "body", "good"),
    [
        ("/v1/track", '{"userId":"u"}', '{"userId":"u","event":"E"}'),
        ("/v1/batch", '{"batch":[{"type":"page"}]}', '{"type":"page","userId":"u"}'),
        (
            "/internal/v1/batch",
            '[{"payload":{"type":"page"}}]',
            '{"payload":{"type":"page","userId":"u"}}',
        ),
        ("/pixel/v1/track", "userId=u&a.b=1", '{"userId":"u","a.b":"1","event":"E"}'),
    ],
)
def test_an_event_that_was_kept_alone_is_sent_again_alone(client, path, body, good):
    key = make_write_key(make_source(on_invalid_event="quarantine"))
    assert send(client, key, path, body).status_code == 200
    refused = Quarantined.objects.get()

    still_wrong = resend_request(refused.pk)
    outcome = resend_request(refused.pk, good.encode())

    assert still_wrong.status == 400
    assert outcome == Outcome(200, "OK")
    (event,) = stored_payloads()
    assert (event["userId"], Quarantined.objects.count()) == ("u", 1)


def test_an_event_of_a_batch_keeps_the_time_of_its_batch(client):
    key = make_write_key(make_source(on_invalid_event="quarantine"))
    batch = {"batch": [{"type": "page"}], "sentAt": "2026-01-02T03:04:05.000Z"}
    send(client, key, "/v1/batch", json.dumps(batch))

    resend_request(Quarantined.objects.get().pk, b'{"type":"page","userId":"u"}')

    assert stored_payloads()[0]["sentAt"] == "2026-01-02T03:04:05.000Z"


def test_a_webhooks_form_is_a_form_again(client):
    key = make_write_key(make_source(type="Webhook", max_event_bytes=5))
    send(client, key, "/v1/webhook", "a=1&a=2", FORM)
    key.source.max_event_bytes = None
    key.source.save()

    assert resend_request(Quarantined.objects.get().pk).accepted
    assert stored_payloads()[0]["properties"] == {"a": ["1", "2"]}


def test_an_accepted_request_is_not_sent_twice(client):
    key = make_write_key()
    send(client, key, "/v1/track", '{"userId":"u"}')
    pk = Quarantined.objects.get().pk
    resend_request(pk, b'{"userId":"u","event":"E"}')

    with pytest.raises(AlreadyAcceptedError):
        resend_request(pk, b'{"userId":"u","event":"E"}')

    assert len(stored_payloads()) == 1


def test_the_admin_edits_sends_and_notes_it(client):
    send(client, make_write_key(), "/v1/track", '{"userId":"u"}')
    refused = Quarantined.objects.get()
    url = f"/admin/events/quarantined/{refused.pk}/send-again/"
    client.force_login(make_admin())

    change = client.get(f"/admin/events/quarantined/{refused.pk}/change/")
    shown = client.get(url)
    wrong = client.post(url, {"body": '{"userId":"u"}'})
    right = client.post(url, {"body": '{"userId":"u","event":"E"}'})

    assert url in change.content.decode()
    assert "{&quot;userId&quot;:&quot;u&quot;}" in shown.content.decode()
    assert "event is missing or blank" in wrong.content.decode()
    assert right.status_code == 302
    assert stored_payloads()[0]["event"] == "E"
    notes = LogEntry.objects.order_by("id").values_list("change_message", flat=True)
    assert list(notes) == [
        "Viewed personal data.",
        "Viewed personal data.",
        "Sent again unchanged: 400 Invalid request: event is missing or blank",
        "Sent again edited: 200 OK",
    ]


LIST = "/admin/events/quarantined/"


@pytest.fixture
def operator(client):
    """The client of an admin; three refused requests are valid by now, and one is not."""
    key = make_write_key(make_source(max_event_bytes=20))
    for number in range(3):
        send(client, key, "/v1/track", f'{{"userId":"u{number}","event":"E"}}')
    send(client, key, "/v1/track", "{")
    key.source.max_event_bytes = None
    key.source.save()
    client.force_login(make_admin())
    return client


def resend_all(client):
    chosen = list(Quarantined.objects.values_list("pk", flat=True))
    form = {"action": "send_again", "_selected_action": chosen, "confirm": "1"}
    return client.post(LIST, form, follow=True).content.decode()


def test_a_worker_sends_many_requests_again_and_reports_progress(operator):
    asked = resend_all(operator)
    before = list(stored_payloads())
    send_quarantined_again(0)
    done = operator.get(LIST, {"state": "all"}).content.decode()

    assert "A worker is sending 4 refused requests again" in asked
    assert 'data-live="1"' in asked
    assert "0 of 4, 0 accepted, 0 refused" in asked
    assert cache.get("queued:quarantine:0") is None
    assert before == []
    assert [event["userId"] for event in stored_payloads()] == ["u0", "u1", "u2"]
    assert "data-live" not in done
    assert "4 of 4, 3 accepted, 1 refused; see the history of each for the reason" in done
    notes = LogEntry.objects.filter(change_message__startswith="Sent again unchanged: ")
    assert [note.user for note in notes] == [User.objects.get()] * 4


def test_a_worker_sends_a_part_and_then_gives_others_their_turn(operator):
    resend_all(operator)

    more = [resend_waiting(0) for _ in range(4)]

    assert more == [True, True, True, False]
    assert len(stored_payloads()) == 3


def test_while_the_log_takes_nothing_the_rest_waits(operator, tmp_path):
    resend_all(operator)

    with override_settings(DATA_DIR=tmp_path, MIN_FREE_MB=10**9):
        disk_space.expire_shortage()
        goes_on = resend_waiting(60)
    disk_space.expire_shortage()
    left = waiting_requests().count()
    resend_waiting(60)

    assert not goes_on
    assert left == 3
    assert [event["userId"] for event in stored_payloads()] == ["u1", "u2"]
    first = LogEntry.objects.filter(object_id=Quarantined.objects.earliest("pk").pk)
    assert "503 Service unavailable" in first.get().change_message


def test_a_ring_that_was_lost_is_queued_again_by_beat(operator):
    resend_all(operator)
    cache.clear()

    enqueue_waiting_work()
    is_queued = cache.get("queued:quarantine:0")
    send_quarantined_again(0)
    cache.clear()
    enqueue_waiting_work()

    assert is_queued
    assert cache.get("queued:quarantine:0") is None


def test_without_a_broker_the_chosen_requests_wait_for_beat(operator, monkeypatch):
    take_broker_away(monkeypatch)

    resend_all(operator)
    waiting = waiting_requests().count()
    resend_waiting(60)

    assert waiting == 4
    assert [event["userId"] for event in stored_payloads()] == ["u0", "u1", "u2"]


def test_a_worker_that_was_killed_has_sent_none_twice(operator):
    """Whatever it had begun it had unmarked before."""
    resend_all(operator)
    first = Quarantined.objects.earliest("pk")
    Quarantined.objects.filter(pk=first.pk).update(is_waiting=False)

    resend_waiting(60)
    resend_waiting(60)

    assert [event["userId"] for event in stored_payloads()] == ["u1", "u2"]
    first.refresh_from_db()
    assert first.accepted_at is None


def test_requests_that_were_sent_or_discarded_meanwhile_are_not_sent_again(operator):
    resend_all(operator)
    first, second = Quarantined.objects.order_by("pk")[:2]
    resend_request(first.pk)
    discard_requests(Quarantined.objects.filter(pk=second.pk), "ada", "a scanner")

    assert not resend_waiting(60)

    assert [event["userId"] for event in stored_payloads()] == ["u0", "u2"]
    assert not waiting_requests().exists()


def test_sending_again_requires_the_permission_to_change_the_quarantine(client, staff_client):
    send(client, make_write_key(), "/v1/track", "{")
    viewer = staff_client("view_quarantined")

    url = f"/admin/events/quarantined/{Quarantined.objects.get().pk}/send-again/"

    assert viewer.post(url, {"body": "{}"}).status_code == 403
