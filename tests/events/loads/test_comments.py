from __future__ import annotations

from datetime import UTC, datetime

import pytest

from events.loads.run import run_load
from tests.support.connections import send
from tests.support.events import event, track
from tests.support.warehouse import rows

pytestmark = pytest.mark.django_db(transaction=True)


def comments(warehouse, table):
    query = f"""
    SELECT attname, col_description(attrelid, attnum)
    FROM pg_attribute
    WHERE attrelid = 'shop.{table}'::regclass AND attnum > 0
    """  # noqa: S608
    return dict(rows(warehouse, query))


def test_every_table_and_column_is_explained(connection, warehouse):
    send(
        connection,
        track("m1", event="Order Done", properties={"total": 1}),
        event("m2", "identify", traits={"plan": "pro"}, userId="u1"),
    )

    run_load(connection)

    tables = rows(
        warehouse,
        """
        SELECT relname, obj_description(oid, 'pg_class') FROM pg_class
        WHERE relnamespace = 'shop'::regnamespace AND relkind = 'r' ORDER BY relname
        """,
    )
    names = [name for name, _ in tables]
    assert names == ["identifies", "order_done", "rudder_discards", "tracks", "users"]
    assert all(words for _, words in tables)
    assert all(all(comments(warehouse, name).values()) for name in names)


def test_a_new_column_says_when_it_was_first_met(connection, warehouse):
    send(connection, track("m1", event="Order Done"))
    run_load(connection)
    warehouse.execute("COMMENT ON TABLE shop.order_done IS 'mine'")
    warehouse.execute("COMMENT ON COLUMN shop.order_done.event IS 'mine, too'")
    send(connection, track("m2", event="Order Done", properties={"it's": 1}))

    run_load(connection)

    column_comments = comments(warehouse, "order_done")
    assert column_comments["it_s"] == f"A property, first seen on {datetime.now(UTC).date()}."
    assert column_comments["event"] == "mine, too"
    assert rows(warehouse, "SELECT obj_description('shop.order_done'::regclass)") == [("mine",)]


def test_the_tables_of_profiles_are_explained(connection, warehouse):
    send(connection, track("m1", event="Order Done"))

    run_load(connection)

    without = rows(
        warehouse,
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = 'rudder_identity'::regnamespace AND relname LIKE 'rudder\\_%'
            AND relkind IN ('r', 'v') AND obj_description(oid, 'pg_class') IS NULL
        """,
    )
    assert without == []
