"""Two web processes share limits, and see changes of sources and keys within a second."""

from __future__ import annotations

import time
from contextlib import ExitStack
from urllib.parse import quote

import pytest
from django.core.cache import cache
from django.db import connection
from django.utils import timezone

from sources.models import Source
from tests.support.factories import make_source, make_write_key
from tests.support.http import basic_token
from tests.support.web_server import database_url, running_server

pytestmark = pytest.mark.django_db(transaction=True)

SEEN_SECONDS = 1.0
# Their queries give way when the tables of a test are emptied, before Postgres finds a deadlock
GIVES_WAY = quote("-c lock_timeout=100ms")


@pytest.fixture(scope="module")
def servers(django_db_setup):
    settings = {"PATH_PREFIX": "/data", "UNKNOWN_KEYS_PER_MINUTE": "8"}
    with ExitStack() as stack:
        url = f"{database_url(connection.settings_dict)}?options={GIVES_WAY}"
        yield [stack.enter_context(running_server(url, **settings)) for _ in range(2)]


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()


def identify(server, key, path="/v1/identify", address="192.0.2.1"):
    headers = {"Authorization": f"Basic {basic_token(key)}", "X-Forwarded-For": address}
    return server.send("POST", path, headers, b'{"userId":"u"}')


def revoke(key):
    key.revoke(timezone.now())


def disable(key):
    key.source.enabled = False
    key.source.save()


def disable_by_hand(key):
    Source.objects.filter(pk=key.source_id).update(enabled=False)


def delete(key):
    key.source.delete()


@pytest.mark.parametrize(
    ("change", "status"),
    [(revoke, 401), (disable, 404), (disable_by_hand, 404), (delete, 401)],
)
def test_a_change_is_seen_by_all_processes_within_a_second(servers, change, status):
    key = make_write_key()
    time.sleep(SEEN_SECONDS)
    before = [identify(server, key.key).status for _ in range(3) for server in servers]

    change(key)
    time.sleep(SEEN_SECONDS)

    assert before == [200] * 6
    assert [identify(server, key.key).status for server in servers] == [status] * 2


def test_a_rotated_key_works_everywhere_within_a_second(servers):
    old = make_write_key()
    time.sleep(SEEN_SECONDS)

    new = old.rotate(timezone.now())
    time.sleep(SEEN_SECONDS)

    assert [identify(server, old.key).status for server in servers] == [401] * 2
    assert [identify(server, new.key).status for server in servers] == [200] * 2


def test_the_budget_of_a_source_is_one_for_all_processes(servers):
    key = make_write_key(make_source(rate_limit_requests=5, rate_limit_window_seconds=86_400))
    time.sleep(SEEN_SECONDS)

    answers = [identify(servers[number % 2], key.key) for number in range(8)]

    assert [answer.status for answer in answers] == [200] * 5 + [429] * 3
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 86_400


def test_the_guesses_of_keys_per_address_and_minute_are_limited(servers):
    key = make_write_key()
    time.sleep(SEEN_SECONDS)

    answers = [
        identify(servers[number % 2], f"guess-{number}", address="192.0.2.2")
        for number in range(20)
    ]

    assert answers[0].status == 401
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) >= 20 - 2 * 8  # a minute may end on the way
    assert refused[0].text == "Too many requests: max requests limit reached"
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 60
    assert identify(servers[0], key.key, address="192.0.2.2").status == 200
    assert identify(servers[0], "guess", address="192.0.2.3").status == 401


def test_all_routes_work_under_the_prefix_as_well(servers):
    key = make_write_key()
    time.sleep(SEEN_SECONDS)
    settings = servers[0].send("GET", f"/data/v1/projects/{key.key}/settings")

    assert identify(servers[0], key.key, "/data/v1/identify").status == 200
    assert identify(servers[0], key.key, "/other/v1/identify").status == 404
    assert servers[0].send("GET", f"/data/sourceConfig?writeKey={key.key}").status == 200
    assert f'"apiHost":"127.0.0.1:{servers[0].port}/data/v1"' in settings.text
