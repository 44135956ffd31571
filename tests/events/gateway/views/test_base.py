from __future__ import annotations

import json
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from events.gateway import disk_space
from events.log.database import log_connection
from events.models import Event, Quarantined
from tests.support.factories import make_source, make_write_key
from tests.support.http import TRACK, send_event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_process")]

NOON = "2026-11-21T12:00:00Z"


def test_a_revoked_key_is_refused_from_its_time_on(client):
    source = make_source()
    revoked = make_write_key(source, revoked_at=timezone.now() - timedelta(seconds=1))
    revoked_soon = make_write_key(source, revoked_at=timezone.now() + timedelta(hours=1))

    assert send_event(client, revoked.key).status_code == 401
    assert send_event(client, revoked_soon.key).status_code == 200


def test_a_deleted_source_is_unknown_at_once(client):
    key = make_write_key()
    assert send_event(client, key.key).status_code == 200

    key.source.delete()

    assert send_event(client, key.key).status_code == 401


def test_an_unknown_key_sends_no_query_to_postgres(client, django_assert_num_queries):
    send_event(client, make_write_key().key)

    with django_assert_num_queries(0):
        response = send_event(client, "no-such-key")

    assert response.status_code == 401


def test_a_refused_request_is_kept_with_its_reason(client):
    key = make_write_key()

    response = send_event(client, key.key, b'{"userId":')

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

    allowed = send_event(client, key.key, HTTP_ORIGIN="https://shop.example")
    refused = send_event(client, key.key, HTTP_ORIGIN="https://evil.example")

    assert (allowed.status_code, refused.status_code) == (200, 400)
    assert refused["Access-Control-Allow-Origin"] == "https://evil.example"
    assert json.loads(bytes(Quarantined.objects.get().body)) == TRACK


def test_a_source_may_keep_bad_events_and_accept_the_good_ones(client):
    key = make_write_key(make_source(on_invalid_event="quarantine"))
    batch = [{"type": "identify"}, {"type": "identify", "userId": "u"}, 5]

    response = send_event(client, key.key, {"batch": batch}, "/v1/batch")

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

    response = send_event(client, key.key, {"userId": "u"})

    assert response.status_code == 200
    assert not Event.objects.exists()
    assert Quarantined.objects.get().reason == "Invalid request: event is missing or blank"


@time_machine.travel(NOON, tick=False)
def test_the_limit_of_requests_is_answered_with_the_time_to_wait(client):
    source = make_source(rate_limit_requests=2, rate_limit_window_seconds=60)
    key = make_write_key(source)

    statuses = [send_event(client, key.key).status_code for _ in range(3)]
    response = send_event(client, make_write_key(source).key, b"{")

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
        statuses = [send_event(client, key.key).status_code for _ in range(3)]
        unknown = send_event(client, "no-such-key")
        health = client.get("/health")

    assert statuses == [200, 200, 200]
    assert (unknown.status_code, health.status_code) == (401, 200)
    assert health.json()["rateLimits"] == "FALSE"
    assert health.json()["notes"] == ["the cache does not answer; rate limits are off"]


@time_machine.travel(NOON, tick=False)
def test_unknown_keys_are_limited_by_address(client, django_assert_num_queries):
    send_event(client, make_write_key().key)

    with override_settings(UNKNOWN_KEYS_PER_MINUTE=2), django_assert_num_queries(0):
        statuses = [send_event(client, f"guess-{number}").status_code for number in range(6)]
        elsewhere = send_event(client, "guess", REMOTE_ADDR="192.0.2.7")
        source_id = send_event(client, "guess", {"batch": []}, "/internal/v1/batch")
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
        refused, health = send_event(client, key.key, b"{"), client.get("/health")
        disk_space.expire_shortage()
    with override_settings(DATA_DIR=tmp_path, MIN_FREE_MB=1):
        stored = send_event(client, key.key)

    assert (refused.status_code, refused.content) == (503, b"Service unavailable")
    assert refused["Retry-After"] == "60"
    assert not Quarantined.objects.exists()
    assert health.status_code == 503
    (note,) = health.json()["notes"]
    assert "fewer than RUDDERHUB_MIN_FREE_MB=1000000000" in note
    assert stored.status_code == 200


def test_a_request_that_cannot_be_kept_is_to_be_sent_again(client):
    key = make_write_key()

    with log_connection() as other, other.transaction():
        other.execute("LOCK TABLE events_quarantined")
        connection.cursor().execute("SET lock_timeout = '100ms'")
        response = send_event(client, key.key, b"{")
        connection.close()

    assert (response.status_code, response.content) == (503, b"Service unavailable")
    assert response["Retry-After"] == "2"
    assert not Quarantined.objects.exists()


def test_a_batch_without_a_good_event_stores_none(client):
    key = make_write_key(make_source(on_invalid_event="quarantine"))

    response = send_event(client, key.key, {"batch": [5]}, "/v1/batch")

    assert (response.status_code, response.content) == (200, b"OK")
    assert not Event.objects.exists()
    assert Quarantined.objects.get().circumstances["part_of"] == "batch"


def test_a_batch_is_refused_as_a_whole_by_a_source_that_refuses(client):
    key = make_write_key()
    batch = [TRACK | {"type": "track"}, 5]

    response = send_event(client, key.key, {"batch": batch}, "/v1/batch")

    assert response.status_code == 400
    assert not Event.objects.exists()
    assert json.loads(bytes(Quarantined.objects.get().body)) == {"batch": batch}
