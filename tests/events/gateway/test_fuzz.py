"""Whatever is sent, the whole stack of views answers: never 5xx, never a hang, never a page."""

from __future__ import annotations

import gzip
import json
import string

import pytest
from django.core.cache import cache
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from events.gateway import routes
from events.log import writer
from events.models import Event
from events.workers import queue
from sources import rate_limits
from tests.support.factories import make_source, make_write_key
from tests.support.http import basic_token

ROUTES = routes.PUBLIC_ROUTES | routes.INTERNAL_ROUTES
POSTS = sorted(path for path, route in ROUTES.items() if "POST" in route.methods)
GETS = sorted(path for path, route in ROUTES.items() if "GET" in route.methods)
STATUSES = {200, 400, 401, 404, 413}
NAMES = st.sampled_from(
    [
        *("userId", "anonymousId", "event", "type", "batch", "groupId", "previousId", "writeKey"),
        *("mergeProperties", "messageId", "timestamp", "sentAt", "originalTimestamp", "context"),
        *("receivedAt", "request_ip", "properties", "traits", "payload", "value", "integrations"),
    ]
)
TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=20),
    st.sampled_from(["track", "MERGE", "record", "2026-01-01", "9999-12-31T23:59:60+99:99", "0"]),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.integers(-(10**400), 10**400)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | TEXTS, inner, max_size=6),
    max_leaves=25,
)
EVENTS = st.dictionaries(NAMES, VALUES, max_size=8)
BODIES = EVENTS | st.fixed_dictionaries({"batch": st.lists(EVENTS | VALUES, max_size=4)}) | VALUES
LIMITS = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def keys(django_db_setup, django_db_blocker):
    """A source of each policy, and one for webhooks."""
    with django_db_blocker.unblock(), override_settings(UNKNOWN_KEYS_PER_MINUTE=0):
        cache.clear()
        rate_limits.reset_limits()
        policies = ("reject", "quarantine")
        write_keys = [make_write_key(make_source(on_invalid_event=policy)) for policy in policies]
        write_keys += [
            make_write_key(make_source(type="Webhook", on_invalid_event=p)) for p in policies
        ]
        yield write_keys
        writer.close_writer()
        queue.close_enqueuer()
        for key in write_keys:
            key.source.delete()
        Event.objects.all().delete()


def credentials(key, path):
    internal = path.startswith("/internal") and path.endswith(("retl", "replay", "batch"))
    return f"Basic {basic_token(key.source.public_id if internal else key.key)}"


def check(response):
    assert response.status_code in STATUSES, response.content
    assert response.status_code == 200 or response["Content-Type"].startswith("text/plain")
    assert response.status_code == 200 or b"\n" not in response.content


@pytest.mark.django_db
@LIMITS
@given(data=st.data())
def test_any_json_is_answered(keys, data):
    key, path = data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(POSTS))
    body = json.dumps(data.draw(BODIES)).encode(errors="surrogatepass")

    response = Client().post(
        f"{path}?writeKey={key.key}",
        body,
        content_type="application/json",
        HTTP_AUTHORIZATION=credentials(key, path),
    )

    check(response)


@pytest.mark.django_db
@LIMITS
@given(data=st.data())
def test_any_bytes_are_answered(keys, data):
    key, path = data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(POSTS))
    body = data.draw(st.binary(max_size=300) | st.text(string.printable).map(str.encode))
    packed = data.draw(st.sampled_from([lambda raw: raw, gzip.compress, lambda raw: raw * 9]))
    labels = ["", "text/plain", "multipart/form-data; boundary=--", "multipart/form-data"]
    labels += ["application/x-www-form-urlencoded"]

    response = Client().post(
        f"{path}?writeKey={key.key}",
        packed(body),
        content_type=data.draw(st.sampled_from(labels)),
        HTTP_AUTHORIZATION=credentials(key, path),
        HTTP_CONTENT_ENCODING=data.draw(st.sampled_from(["", "gzip", "br"])),
    )

    check(response)


@pytest.mark.django_db
@LIMITS
@given(data=st.data())
def test_any_query_is_answered(keys, data):
    key, path = data.draw(st.sampled_from(keys)), data.draw(st.sampled_from(GETS))
    query = data.draw(st.text(string.printable.strip() + "&=%.\\0123", max_size=300))
    names = data.draw(st.lists(NAMES | st.text("abc.\\019", max_size=12), max_size=5))
    query += "".join(f"&{name}=x" for name in names)

    response = Client().generic(
        data.draw(st.sampled_from(["GET", "HEAD"])),
        path,
        QUERY_STRING=f"{query}&writeKey={key.key}",
        HTTP_ACCEPT=data.draw(st.text(string.printable.strip(), max_size=30)),
    )

    check(response)


@pytest.mark.django_db
@LIMITS
@given(
    path=st.sampled_from(sorted(ROUTES)) | st.text(max_size=30).map("/{}".format),
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "TRACE", "X"]),
    headers=st.dictionaries(
        st.sampled_from(
            [
                *("HTTP_AUTHORIZATION", "HTTP_ORIGIN", "HTTP_X_FORWARDED_FOR", "HTTP_HOST"),
                *("HTTP_X_RUDDER_SOURCE_ID", "HTTP_X_INTERNAL_TOKEN", "HTTP_TRANSFER_ENCODING"),
                *("HTTP_ACCESS_CONTROL_REQUEST_METHOD", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS"),
            ]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30),
    ),
)
def test_any_path_method_and_header_is_answered(keys, path, method, headers):
    with override_settings(UNKNOWN_KEYS_PER_MINUTE=0):
        response = Client(raise_request_exception=False).generic(method, path, b"{}", **headers)

    assert response.status_code < 500, response.content
