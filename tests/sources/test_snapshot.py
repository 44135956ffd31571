from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from django.db import connection

from events.log.database import log_connection
from sources import snapshot
from sources.authentication import basic_credentials, query_key, source_of_key
from sources.models import WriteKey
from sources.refusals import RefusedError
from tests.support.factories import make_write_key
from tests.support.http import basic_token

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(autouse=True)
def forgotten():
    """As in a process that has just begun."""
    snapshot.reset_snapshot()
    yield
    snapshot.reset_snapshot()


def revision():
    with connection.cursor() as cursor:
        cursor.execute("SELECT revision FROM sources_revision")
        return cursor.fetchone()[0]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sources_writekey (source_id, key, created_at) VALUES ({source}, 'k', now())",
        "UPDATE sources_writekey SET revoked_at = now()",
        "UPDATE sources_source SET enabled = false",
        "DELETE FROM sources_writekey",
    ],
)
def test_every_change_moves_the_revision(statement):
    source = make_write_key().source
    before = revision()

    with connection.cursor() as cursor:
        cursor.execute(statement.format(source=source.pk))

    assert revision() > before


@pytest.mark.django_db
def test_a_key_that_was_used_changes_nothing():
    make_write_key()
    before = revision()

    WriteKey.objects.update(last_used_at=NOW)

    assert revision() == before


@pytest.mark.django_db(transaction=True)
def test_a_change_from_outside_is_seen_when_the_second_is_over():
    key = make_write_key()
    assert snapshot.current_snapshot().active_key(key.key, NOW).source.enabled

    with log_connection() as outside:
        outside.execute("UPDATE sources_source SET enabled = false")
    at_once = snapshot.current_snapshot().active_key(key.key, NOW).source.enabled
    snapshot.expire_snapshot()

    assert at_once
    assert not snapshot.current_snapshot().active_key(key.key, NOW).source.enabled


@pytest.mark.django_db(transaction=True)
def test_the_use_of_a_key_is_noted_once_a_minute(django_assert_num_queries):
    key = make_write_key()

    source_of_key(key.key, {})
    with django_assert_num_queries(0):
        source_of_key(key.key, {})

    key.refresh_from_db()
    assert key.last_used_at is not None


@pytest.mark.django_db(transaction=True)
def test_the_last_snapshot_serves_while_postgres_is_away():
    key = make_write_key()
    snapshot.current_snapshot()
    snapshot.expire_snapshot()

    with unreachable():
        source = source_of_key(key.key, {})

    assert source.pk == key.source.pk


@pytest.mark.django_db(transaction=True)
def test_without_a_snapshot_the_sender_is_told_to_retry():
    with unreachable(), pytest.raises(RefusedError) as refused:
        source_of_key("key", {})

    assert refused.value.status_code == 503


@contextlib.contextmanager
def unreachable():
    """Django's connection leads to a port where nobody listens."""
    port = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = "1"
    yield
    connection.settings_dict["PORT"] = port
    connection.close()


@pytest.mark.parametrize(
    ("header", "credentials"),
    [
        (f"Basic {basic_token('key')}", ("key", "")),
        (f"bAsIc   {basic_token('key', 'secret:x')}", ("key", "secret:x")),
        ("", None),
        ("Bearer key", None),
        ("key", None),
        ("Basic", None),
        ("Basic !!!", None),
        ("Basic a2V5", None),
        (f"Basic {basic_token('')}", None),
        ("Basic é", None),
    ],
)
def test_basic_auth_is_read_or_missing(header, credentials):
    assert basic_credentials(header) == credentials


@pytest.mark.parametrize(
    ("query", "key"),
    [("", ""), ("writeKey=", ""), ("a=b&writeKey=k%2Bx&writeKey=y", "k+x"), ("WriteKey=k", "")],
)
def test_the_first_write_key_of_the_query_counts(query, key):
    assert query_key(query) == key
