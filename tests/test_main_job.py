"""The main job: the unmodified RudderStack SDK sends, Postgres answers with rows and a profile."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import rudderstack.analytics as sdk
from psycopg.sql import SQL

from tests.support.instance import has_row, table_identifier
from tests.support.wait import wait_for

TABLES = {
    "identify": "identifies",
    "track": "tracks",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}


@pytest.fixture
def client(instance):
    errors = []
    client = sdk.Client(
        instance.write_key,
        host=instance.base_url,
        on_error=lambda error, _: errors.append(error),
        max_retries=1,
    )
    yield client
    client.shutdown()
    assert errors == []


def test_the_sdk_sends_and_sql_answers(instance, client):
    person, device = f"user-{uuid.uuid4()}", f"device-{uuid.uuid4()}"
    sent = {kind: [] for kind in TABLES}

    def call(kind, *arguments, **options):
        message_id = f"sdk-{uuid.uuid4()}"
        getattr(client, kind)(*arguments, message_id=message_id, **options)
        sent[kind].append(message_id)

    for number in range(300):
        ids = {"anonymous_id": device} if number % 2 else {"user_id": person}
        call("track", event="Order Completed", properties={"number": number, "total": 9.5}, **ids)
    for number in range(50):
        call("page", anonymous_id=device, name=f"Page {number}")
        call("screen", anonymous_id=device, name=f"Screen {number}")
    # Traits go by the event's time, to the millisecond
    first, second = {"email": "ann@example.com", "plan": "free"}, {"plan": "pro"}
    now = datetime.now(UTC)
    call("identify", person, first, anonymous_id=device, timestamp=now - timedelta(seconds=1))
    call("identify", person, second, anonymous_id=device, timestamp=now)
    call("group", person, "team-1", {"name": "Team"})
    call("alias", f"old-{person}", person)
    client.flush()

    with psycopg.connect(instance.warehouse_dsn, autocommit=True) as warehouse:
        wait_for(lambda: has_row(warehouse, instance, "aliases", sent["alias"][0]))
        for kind, table in TABLES.items():
            stored = ids_of(warehouse, instance, table, person, device)
            assert Counter(stored) == Counter(sent[kind]), table
        order_ids = ids_of(warehouse, instance, "order_completed", person, device)
        assert Counter(order_ids) == Counter(sent["track"])
        users = SQL("SELECT id, context_traits_plan, context_traits_email FROM {} WHERE id = %s")
        assert warehouse.execute(
            users.format(table_identifier(instance, "users")), [person]
        ).fetchall() == [(person, "pro", "ann@example.com")]
        assert profiles(warehouse, person, device) == [
            (person, "ann@example.com", "pro", sorted([person, f"old-{person}"]), [device])
        ]


def ids_of(warehouse, instance, table, person, device):
    query = SQL("SELECT id FROM {} WHERE user_id = %s OR anonymous_id = %s")
    rows = warehouse.execute(query.format(table_identifier(instance, table)), [person, device])
    return [row[0] for row in rows]


def profiles(warehouse, person, device):
    rows = warehouse.execute(
        """
        SELECT user_id, email, traits ->> 'plan', identifiers -> 'user_id',
            identifiers -> 'anonymous_id'
        FROM rudder_identity.rudder_profiles
        WHERE rudder_id IN (
            SELECT rudder_id FROM rudder_identity.rudder_identity_mappings
            WHERE merge_property_value IN (%s, %s)
        )
        """,
        [person, device],
    ).fetchall()
    return [(*row[:3], sorted(row[3]), sorted(row[4])) for row in rows]
