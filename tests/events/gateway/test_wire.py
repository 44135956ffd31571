"""The gateway's contract over real sockets: cases/gateway_cases.json against granian."""

from __future__ import annotations

import base64
import json
import zlib
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path

import pytest
from django.core.cache import cache
from django.db import connection

from destinations.models import Destination
from events.models import Event, Quarantined
from sources.models import Source
from tests.support.factories import make_connection, make_destination, make_source, make_write_key
from tests.support.gateway_cases import Case
from tests.support.http import basic_token
from tests.support.web_server import Gate, database_url, running_server

CASES = json.loads((Path(__file__).parents[2] / "cases" / "gateway_cases.json").read_text())[
    "cases"
]
TOKEN = "correct-horse-battery-staple"
SERVERS = {
    "internal_token": {"INTERNAL_TOKEN": TOKEN},
    "internal_disabled": {"INTERNAL_ROUTES": "false"},
    "no_trusted_proxies": {"TRUSTED_PROXIES": ""},
}
SOURCES = {
    "WRITE": {},
    "DISABLED": {"enabled": False},
    "WEBHOOK": {"type": "Webhook"},
    "DISABLED_WEBHOOK": {"type": "Webhook", "enabled": False},
    "QUARANTINE": {"on_invalid_event": "quarantine"},
    "RATE_LIMITED": {"rate_limit_requests": 5, "rate_limit_window_seconds": 86_400},
    "BIG_EVENT": {"max_event_bytes": 65_536},
    "SMALL_BODY": {"max_body_bytes": 10_000},
    "ORIGIN": {"allowed_origins": ["https://shop.example"]},
}


@pytest.fixture(scope="module")
def values(django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        sources = {name: make_source(**fields) for name, fields in SOURCES.items()}
        keys = {f"{name}_KEY": make_write_key(source).key for name, source in sources.items()}
        yield _values(sources, keys)
        Source.objects.all().delete()
        Destination.objects.all().delete()
        Event.objects.all().delete()


def _values(sources, keys):
    destination, disabled = make_destination(), make_destination(enabled=False)
    make_connection(sources["WRITE"], destination)
    make_connection(sources["WRITE"], disabled)
    plain = {
        **keys,
        "SOURCE_ID": sources["WRITE"].public_id,
        "DISABLED_SOURCE_ID": sources["DISABLED"].public_id,
        "DEST_ID": destination.public_id,
        "DISABLED_DEST_ID": disabled.public_id,
        "INTERNAL_TOKEN": TOKEN,
    }
    return {
        **plain,
        **{f"{name}_BASIC": basic_token(value) for name, value in plain.items()},
        "WRITE_KEY_WITH_PASSWORD_BASIC": basic_token(keys["WRITE_KEY"], "secret"),
        "WRITE_KEY_NO_COLON_BASIC": base64.b64encode(keys["WRITE_KEY"].encode()).decode(),
        "UNKNOWN_KEY_BASIC": basic_token("no-such-key"),
        "SOURCE_ID_TOKEN_BASIC": basic_token(plain["SOURCE_ID"], TOKEN),
    }


@pytest.fixture(scope="module")
def servers(values):
    """The servers of this module by their state; each starts when a test needs it."""
    running = {}
    with ExitStack() as stack:

        def server(state):
            if state not in running:
                running[state] = _start(stack, state, values)
            return running[state]

        yield server


def _start(stack, state, values):
    settings = connection.settings_dict
    if state != "db_down":
        url = database_url(settings)
        return stack.enter_context(running_server(url, **SERVERS.get(state, {})))
    gate = Gate(settings["HOST"], settings["PORT"])
    stack.callback(gate.shut)
    url = database_url(settings, "127.0.0.1", gate.port)
    server = stack.enter_context(running_server(url, COMMIT_TIMEOUT_SECONDS="2"))
    headers = {"Authorization": f"Basic {values['WRITE_KEY_BASIC']}"}
    answer = server.send("POST", "/v1/identify", headers, b'{"userId":"before"}')
    assert answer.status == 200
    gate.shut()
    return server


@pytest.mark.django_db
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_server_answers_and_stores_as_the_case_says(case, servers, values):
    case = Case(case, values)
    state = next((s for s in case.case.get("requires", []) if s in {*SERVERS, "db_down"}), "")
    cache.clear()
    server = servers(state)
    for earlier in case.case.get("precede", []):
        server.send(**case.request(earlier))
    last_event, last_quarantined = _last_ids()

    answer = server.send(**case.request())

    events = Event.objects.filter(id__gt=last_event).order_by("id")
    stored = [json.loads(event.payload) for event in events]
    quarantined = Quarantined.objects.filter(id__gt=last_quarantined).count()
    assert case.faults_of_answer(answer) == [], answer
    assert case.stored.get("count", len(stored)) == len(stored)
    assert case.stored.get("quarantined", quarantined) == quarantined
    wanted = case.stored.get("events", [])
    assert [case.faults_of_event(*pair) for pair in zip(stored, wanted, strict=bool(wanted))] == [
        []
    ] * len(wanted), stored


def _last_ids():
    event, quarantined = Event.objects.first(), Quarantined.objects.first()
    return (event.id if event else 0), (quarantined.id if quarantined else 0)


@pytest.fixture
def server(servers, db):
    return servers("")


@pytest.mark.django_db
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/v1/batch", "/v1/b", "/v1/webhook"])
def test_huge_bodies_cost_no_memory(servers, values, path, chunked):
    """VmHWM is the peak memory of a process."""
    server = servers("memory")
    key = values["WEBHOOK_KEY_BASIC" if path == "/v1/webhook" else "WRITE_KEY_BASIC"]
    headers = {"Authorization": f"Basic {key}"}
    bomb = compress_zeros(1_000_000_000)
    server.send("POST", path, headers | {"Content-Encoding": "gzip"}, bomb[:100_000])
    server.send("POST", path, headers, b"{")
    before = server.peak_bytes()

    large = server.send("POST", path, headers, bytes(100_000_000), chunked=chunked)
    after_large = server.peak_bytes()
    inflated = server.send(
        "POST", path, headers | {"Content-Encoding": "gzip"}, bomb, chunked=chunked
    )

    assert (large.status, inflated.status) == (413, 413)
    assert after_large - before < 10_000_000
    assert server.peak_bytes() - after_large < 10_000_000


def test_a_huge_body_is_refused_before_it_comes(server, values):
    headers = {"Authorization": f"Basic {values['WRITE_KEY_BASIC']}"}

    answer = server.send("POST", "/v1/batch", headers, announce=100_000_000)

    assert answer.status == 413


def test_http_1_0_works(server, values):
    head = f"POST /v1/identify HTTP/1.0\r\nAuthorization: Basic {values['WRITE_KEY_BASIC']}\r\n"

    received = server.raw(head.encode() + b'Content-Length: 14\r\n\r\n{"userId":"u"}')

    assert received.startswith(b"HTTP/1.0 200 ")
    assert received.endswith(b"\r\n\r\nOK")


def test_head_has_headers_only(server):
    received = server.raw(b"HEAD /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\n")


def test_a_connection_continues_after_a_refusal(server):
    refused = b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    last = b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    received = server.raw(refused + last)

    assert received.startswith(b"HTTP/1.1 401 ")
    assert b"HTTP/1.1 200 " in received


def test_a_request_line_of_60_kilobytes_works(server, values):
    query = f"writeKey={values['WRITE_KEY']}&anonymousId=a&event=" + "e" * 30_000 + "&x=" * 10_000

    answer = server.send("GET", f"/pixel/v1/track?{query}")

    assert answer.status == 200


@lru_cache(maxsize=1)
def compress_zeros(count):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(bytes(1_000_000)) for _ in range(count // 1_000_000)]
    return b"".join([*parts, packer.flush()])
