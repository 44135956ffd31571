from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from django.db import connection

from events.log.database import log_connection
from sources import snapshot
from sources.authentication import source_of_key
from sources.models import WriteKey
from sources.refusals import RefusedError
from tests.support.factories import make_write_key

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(autouse=True)
def fresh_snapshot():
    """The snapshot of a process that has just started: none."""
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
def test_every_change_raises_the_revision(statement):
    source = make_write_key().source
    before = revision()

    with connection.cursor() as cursor:
        cursor.execute(statement.format(source=source.pk))

    assert revision() > before


@pytest.mark.django_db
def test_the_use_of_a_key_does_not_raise_the_revision():
    make_write_key()
    before = revision()

    WriteKey.objects.update(last_used_at=NOW)

    assert revision() == before


@pytest.mark.django_db(transaction=True)
def test_a_change_by_another_process_is_seen_at_the_next_check():
    key = make_write_key()
    assert snapshot.current_snapshot().active_key(key.key, NOW).source.enabled

    with log_connection() as outside:
        outside.execute("UPDATE sources_source SET enabled = false")
    before_check = snapshot.current_snapshot().active_key(key.key, NOW).source.enabled
    snapshot.expire_snapshot()

    assert before_check
    assert not snapshot.current_snapshot().active_key(key.key, NOW).source.enabled


@pytest.mark.django_db(transaction=True)
def test_the_last_snapshot_serves_while_postgres_is_away():
    key = make_write_key()
    snapshot.current_snapshot()
    snapshot.expire_snapshot()

    with unreachable_postgres():
        source = source_of_key(key.key, {})

    assert source.pk == key.source.pk


@pytest.mark.django_db(transaction=True)
def test_without_a_snapshot_the_sender_is_told_to_retry():
    with unreachable_postgres(), pytest.raises(RefusedError) as refused:
        source_of_key("key", {})

    assert refused.value.status_code == 503


@contextlib.contextmanager
def unreachable_postgres():
    """Django's connection leads to a port on which nothing listens."""
    port = connection.settings_dict["PORT"]
    connection.close()
    connection.settings_dict["PORT"] = "1"
    yield
    connection.settings_dict["PORT"] = port
    connection.close()
