"""Event routes through Django's client: what the wire cases do not say."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.test import override_settings
from django.utils import timezone

from destinations.models import Destination
from events.gateway import disk_space
from events.log import writer
from events.models import Event, Quarantined
from events.workers import queue
from sources import rate_limits
from tests.support.factories import make_connection, make_destination, make_source, make_write_key
from tests.support.http import basic_token

pytestmark = pytest.mark.django_db(transaction=True)

NOON = "2026-11-21T12:00:00Z"
TRACK = {"userId": "ann", "event": "Signed Up"}


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()
    yield
    rate_limits.reset_limits()
    disk_space.expire_shortage()
    writer.close_writer()
    queue.close_enqueuer()


def post(client, key, body=TRACK, path="/v1/track", **headers):
    content = body if isinstance(body, bytes) else json.dumps(body)
    headers = {"HTTP_AUTHORIZATION": f"Basic {basic_token(key)}"} | headers
    return client.post(path, content, content_type="application/json", **headers)


def test_an_event_is_stored(client):
    key = make_write_key()

    response = post(client, key.key)

    assert (response.status_code, response.content) == (200, b"OK")
    event = Event.objects.get()
    assert (event.source, event.type, event.event) == (key.source, "track", "Signed Up")
    assert (event.user_id, event.anonymous_id) == ("ann", "")


def test_a_revoked_key_is_refused_from_its_time_on(client):
    source = make_source()
    revoked = make_write_key(source, revoked_at=timezone.now() - timedelta(seconds=1))
    revoked_soon = make_write_key(source, revoked_at=timezone.now() + timedelta(hours=1))

    assert post(client, revoked.key).status_code == 401
    assert post(client, revoked_soon.key).status_code == 200


def test_a_deleted_source_is_unknown_at_once(client):
    key = make_write_key()
    assert post(client, key.key).status_code == 200

    key.source.delete()

    assert post(client, key.key).status_code == 401


def test_an_unknown_key_sends_no_query_to_postgres(client, django_assert_num_queries):
    post(client, make_write_key().key)

    with django_assert_num_queries(0):
        response = post(client, "no-such-key")

    assert response.status_code == 401


def test_a_refused_request_is_kept_with_its_reason(client):
    key = make_write_key()

    response = post(client, key.key, b'{"userId":')

    assert response.status_code == 400
    kept = Quarantined.objects.get()
    assert (kept.source, kept.route, kept.status) == (key.source, "/v1/track", 400)
    assert (kept.reason, bytes(kept.body), kept.body_bytes) == (
        "Invalid JSON: invalid json at character 11",
        b'{"userId":',
        10,
    )


def test_a_body_that_is_refused_unread_is_kept_if_it_is_small(client):
    key = make_write_key(make_source(allowed_origins=["https://Shop.example/"]))

    allowed = post(client, key.key, HTTP_ORIGIN="https://shop.example")
    refused = post(client, key.key, HTTP_ORIGIN="https://evil.example")

    assert (allowed.status_code, refused.status_code) == (200, 400)
    assert refused["Access-Control-Allow-Origin"] == "https://evil.example"
    assert json.loads(bytes(Quarantined.objects.get().body)) == TRACK


@override_settings(QUARANTINE_ROW_BYTES=5, QUARANTINE_ROWS=3)
def test_the_quarantine_has_bounds(client):
    key = make_write_key()

    for number in range(6):
        post(client, key.key, b"{refused %d" % number)

    kept = Quarantined.objects.all()
    assert [row.reason for row in kept] == ["Invalid JSON: invalid json at character 2"] * 3
    assert {(bytes(row.body), row.body_bytes) for row in kept} == {(b"{refu", 10)}


def test_one_source_does_not_push_out_another(client):
    other, noisy = make_write_key(), make_write_key()
    post(client, other.key, b"{")

    with override_settings(QUARANTINE_BYTES=10):
        for _ in range(5):
            post(client, noisy.key, b"{refused")

    assert Quarantined.objects.filter(source=other.source).count() == 1
    assert Quarantined.objects.filter(source=noisy.source).count() == 1


def test_a_source_may_keep_bad_events_and_accept_the_good_ones(client):
    key = make_write_key(make_source(on_invalid_event="quarantine"))
    batch = [{"type": "identify"}, {"type": "identify", "userId": "u"}, 5]

    response = post(client, key.key, {"batch": batch}, "/v1/batch")

    assert (response.status_code, response.content) == (200, b"OK")
    assert [event.user_id for event in Event.objects.all()] == ["u"]
    kept = Quarantined.objects.order_by("id").values_list("reason", "body", "status")
    assert [(reason, bytes(body), status) for reason, body, status in kept] == [
        (
            "Invalid request: request neither has anonymousId nor userId (batch[0])",
            b'{"type":"identify"}',
            400,
        ),
        ("Invalid request: event is not a valid rudder event (batch[2])", b"5", 400),
    ]


def test_a_bad_single_call_is_kept_by_such_a_source(client):
    key = make_write_key(make_source(on_invalid_event="quarantine"))

    response = post(client, key.key, {"userId": "u"})

    assert response.status_code == 200
    assert not Event.objects.exists()
    assert Quarantined.objects.get().reason == "Invalid request: event is missing or blank"


@time_machine.travel(NOON, tick=False)
def test_the_limit_of_requests_is_answered_with_the_time_to_wait(client):
    source = make_source(rate_limit_requests=2, rate_limit_window_seconds=60)
    key = make_write_key(source)

    statuses = [post(client, key.key).status_code for _ in range(3)]
    response = post(client, make_write_key(source).key, b"{")

    assert statuses == [200, 200, 429]
    assert response.content == b"Too many requests: max requests limit reached"
    assert 1 <= int(response["Retry-After"]) <= 60
    assert not Quarantined.objects.exists()


def test_without_the_cache_there_is_no_limit(client):
    key = make_write_key(make_source(rate_limit_requests=1))
    broken = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1/0",
        }
    }

    with override_settings(CACHES=broken):
        statuses = [post(client, key.key).status_code for _ in range(3)]
        unknown = post(client, "no-such-key")
        health = client.get("/health")

    assert statuses == [200, 200, 200]
    assert (unknown.status_code, health.status_code) == (401, 200)
    assert health.json()["rateLimits"] == "FALSE"
    assert health.json()["notes"] == ["the cache does not answer; rate limits are off"]


@time_machine.travel(NOON, tick=False)
def test_unknown_keys_are_limited_by_address(client, django_assert_num_queries):
    post(client, make_write_key().key)

    with override_settings(UNKNOWN_KEYS_PER_MINUTE=2), django_assert_num_queries(0):
        statuses = [post(client, f"guess-{number}").status_code for number in range(6)]
        elsewhere = post(client, "guess", REMOTE_ADDR="192.0.2.7")
        source_id = post(client, "guess", {"batch": []}, "/internal/v1/batch")
        pixel = client.get("/pixel/v1/page?writeKey=guess&userId=u")
        config = client.get("/sourceConfig?writeKey=guess")

    assert statuses[:2] == [401, 401]
    assert statuses[-1] == 429
    assert elsewhere.status_code == 401
    assert [source_id.status_code, pixel.status_code, config.status_code] == [429] * 3
    assert int(pixel["Retry-After"]) >= 1


def test_nothing_is_taken_in_while_the_disk_is_nearly_full(client, tmp_path):
    key = make_write_key()

    with override_settings(DATA_DIR=tmp_path, MIN_FREE_MB=10**9):
        disk_space.expire_shortage()
        refused, health = post(client, key.key, b"{"), client.get("/health")
        disk_space.expire_shortage()
    with override_settings(DATA_DIR=tmp_path, MIN_FREE_MB=1):
        stored = post(client, key.key)

    assert (refused.status_code, refused.content) == (503, b"Service unavailable")
    assert refused["Retry-After"] == "60"
    assert not Quarantined.objects.exists()
    assert health.status_code == 503
    (note,) = health.json()["notes"]
    assert "fewer than RUDDERHUB_MIN_FREE_MB=1000000000" in note
    assert stored.status_code == 200


def test_events_for_one_destination_name_it(client):
    source = make_source()
    destination = make_destination()
    make_connection(source, destination)
    headers = {
        "HTTP_AUTHORIZATION": f"Basic {basic_token(source.public_id)}",
        "HTTP_X_RUDDER_DESTINATION_ID": destination.public_id,
    }
    batch = {"batch": [TRACK | {"type": "track"}]}

    stored = post(client, "", batch, "/internal/v1/retl", **headers)
    Destination.objects.update(enabled=False)
    disabled = post(client, "", batch, "/internal/v1/retl", **headers)

    assert (stored.status_code, disabled.status_code) == (200, 404)
    payload = json.loads(Event.objects.get().payload)
    assert payload["rudderDestinationId"] == destination.public_id


@pytest.mark.parametrize("path", ["/v1/unknown", "/v1/track/", "/V1/track", "/internal/v1/x"])
def test_unknown_paths_are_404_in_one_line(client, path):
    response = client.post(path, HTTP_ORIGIN="https://shop.example")

    assert (response.status_code, response.content) == (404, b"Not found")
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Access-Control-Allow-Origin"] == "https://shop.example"


def test_pages_behind_a_login_are_not_for_other_origins(client):
    response = client.get("/admin/", HTTP_ORIGIN="https://evil.example")

    assert response.status_code == 302
    assert "Access-Control-Allow-Origin" not in response
