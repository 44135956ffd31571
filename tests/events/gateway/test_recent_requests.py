from __future__ import annotations

import json

import pytest
from django.core.cache import cache

from events.gateway import recent_requests
from events.gateway.resend import resend_request
from events.log import writer
from events.models import Event, Quarantined
from events.workers import queue
from tests.support.factories import make_admin, make_write_key
from tests.support.http import basic_token

pytestmark = pytest.mark.django_db(transaction=True)

TRACK = {"type": "track", "userId": "ann", "event": "Paid", "messageId": "m1"}


@pytest.fixture(autouse=True)
def _fresh():
    cache.clear()
    yield
    recent_requests.close_keeper()
    writer.close_writer()
    queue.close_enqueuer()


@pytest.fixture
def key():
    return make_write_key()


def send(client, key, body, path="/v1/track", **headers):
    headers |= {"HTTP_AUTHORIZATION": f"Basic {basic_token(key.key)}"}
    answer = client.post(path, body, content_type="application/json", **headers)
    recent_requests.close_keeper()
    return answer


def part(client):
    event = Event.objects.latest("id")
    response = client.get(f"/admin/events/event/{event.pk}/change/")
    assert response.status_code == 200
    return dict(response.context["parts"])["Request and event"]


def test_the_raw_body_is_shown_beside_the_event(client, key):
    body = json.dumps(TRACK | {"writeKey": key.key}, indent=3)
    send(client, key, body, HTTP_USER_AGENT="shop/2", HTTP_COOKIE="session=s3cret")
    client.force_login(make_admin())

    shown = part(client)

    assert "POST /v1/track" in shown
    raw, accepted = shown.split("Accepted event")
    assert "receivedAt" not in raw
    assert "receivedAt" in accepted
    assert "<td>User-Agent</td><td><code>shop/2</code>" in raw
    assert "<td>Authorization</td><td><code>•••</code>" in raw
    assert "s3cret" not in shown
    assert key.key not in raw


def test_every_event_of_a_batch_leads_to_its_request(client, key):
    batch = {"batch": [TRACK, TRACK | {"messageId": "m2"}]}

    send(client, key, json.dumps(batch), "/v1/batch")

    requests = [
        recent_requests.find_request(e.source_id, e.received_at) for e in Event.objects.all()
    ]
    assert [json.loads(request.body) for request in requests] == [batch, batch]


def test_a_key_in_the_address_is_hidden(client, key):
    client.get(f"/pixel/v1/track?writeKey={key.key}&userId=ann&event=Paid")
    recent_requests.close_keeper()
    event = Event.objects.get()

    request = recent_requests.find_request(event.source_id, event.received_at)

    assert request.path == "/pixel/v1/track?writeKey=•••&userId=ann&event=Paid"


def test_of_a_long_body_the_beginning_is_kept(client, key):
    body = json.dumps(TRACK | {"properties": {"text": "x" * 20_000}})
    send(client, key, body)
    client.force_login(make_admin())

    shown = part(client)

    assert f"Only the start of {len(body):,} bytes is shown." in shown


def test_without_the_permission_the_request_is_shown_masked(client, staff_client, key):
    send(client, key, json.dumps(TRACK), HTTP_USER_AGENT="shop/2")
    viewer = staff_client("view_event")

    shown = part(viewer)

    assert "userId" in shown
    assert "ann" not in shown
    assert "shop/2" not in shown


def test_none_is_kept_when_that_is_switched_off(client, key, settings):
    settings.REQUEST_MINUTES = 0
    send(client, key, json.dumps(TRACK))
    client.force_login(make_admin())

    assert "RUDDERHUB_REQUEST_MINUTES is 0" in part(client)


def test_a_request_that_is_no_longer_kept_is_reported(client, key):
    send(client, key, json.dumps(TRACK))
    cache.clear()
    client.force_login(make_admin())

    assert "The request is not stored" in part(client)


def test_an_erasure_forgets_the_requests_of_the_sources(client, key):
    send(client, key, json.dumps(TRACK))
    event = Event.objects.get()
    before = recent_requests.find_request(event.source_id, event.received_at)

    recent_requests.delete_requests([event.source_id])

    assert before
    assert recent_requests.find_request(event.source_id, event.received_at) is None


def test_neither_refused_nor_sent_again_ones_are_kept(client, key):
    send(client, key, '{"userId":"ann"}')
    resend_request(Quarantined.objects.get().pk, json.dumps(TRACK).encode())
    recent_requests.close_keeper()
    event = Event.objects.get()

    assert recent_requests.find_request(event.source_id, event.received_at) is None
