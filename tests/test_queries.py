"""Every query of docs/reference/queries.md, on events whose answers were computed by hand."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from destinations.interface import Chunk, Feed, LoggedEvent
from destinations.postgres.config import PostgresConfig
from destinations.postgres.destination import PostgresDestination
from destinations.postgres.operations.analyst_views import create_analyst_views
from rudderhub.env import ROOT
from tests.support.warehouse import USER_SCHEMAS, address

PAGE = (ROOT / "docs" / "reference" / "queries.md").read_text()
QUERIES = dict(re.findall(r"^### (.+?)\n.*?```sql\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))

BOOTS = {"product_id": "p1", "price": 100}
ORDER = [{**BOOTS, "quantity": 1}, {"product_id": "p2", "price": 10.25, "quantity": 2}]
NEWS = {"campaign": {"source": "news"}}

EVENTS = [
    ("01 10:00", "page", "", "a1", {"properties": {"path": "/"}, "context": NEWS}),
    ("01 10:05", "page", "", "a1", {"properties": {"path": "/boots"}}),
    ("01 10:06", "track", "", "a1", {"event": "Product Viewed", "properties": BOOTS}),
    ("01 10:07", "identify", "u1", "a1", {"traits": {"email": "ann@x.example", "plan": "free"}}),
    ("01 10:10", "track", "u1", "a1", {"event": "Product Added", "properties": BOOTS}),
    (
        *("01 10:20", "track", "u1", "a1"),
        {"event": "Order Completed", "properties": {"total": 120.5, "products": ORDER}},
    ),
    ("01 11:30", "page", "u1", "a1", {"properties": {"path": "/"}}),
    ("01 11:31", "identify", "u1", "a1", {"traits": {"plan": "pro"}}),
    ("01 11:32", "group", "u1", "a1", {"groupId": "acme", "traits": {"name": "Acme"}}),
    ("02 09:00", "page", "", "a2", {"properties": {"path": "/"}}),
    ("02 09:01", "track", "", "a2", {"event": "Product Viewed", "properties": BOOTS}),
    ("02 09:05", "track", "", "a2", {"event": "Product Added", "properties": BOOTS}),
    ("02 09:06", "identify", "u2", "a2", {"traits": {"email": "bob@x.example", "plan": "free"}}),
    ("02 09:10", "track", "u2", "a2", {"event": "Product Viewed", "properties": {"price": "?"}}),
    ("02 09:11", "group", "u2", "a2", {"groupId": "acme"}),
]

ANSWERS = {
    "Events by name": [("product_viewed", 3), ("product_added", 2), ("order_completed", 1)],
    "Events by day": [(date(2026, 3, 1), 3), (date(2026, 3, 2), 3)],
    "Pages by views": [("/", 3, 2), ("/boots", 1, 1)],
    "Revenue by product": [("p1", Decimal(100)), ("p2", Decimal("20.50"))],
    "Latest traits": [("u1", "ann@x.example", "pro"), ("u2", "bob@x.example", "free")],
    "How a trait changed": [("u1", datetime(2026, 3, 1, 11, 31, tzinfo=UTC), "free", "pro")],
    "New users by week": [(date(2026, 2, 23), 1), (date(2026, 3, 2), 1)],
    "Members of groups": [("acme", "Acme", 2)],
    "Events before the log-in": [("u1", 1), ("u2", 2)],
    "Funnel": [(2, 2, 1)],
    "Sessions of devices": [("a1", 2), ("a2", 1)],
    "First campaign of each user": [("u1", "news")],
    "Discarded values": [("product_viewed", "price", 1, "?")],
    "Events of persons": [("ann@x.example", 3), ("bob@x.example", 3)],
    "Sessions of persons": [
        (1, datetime(2026, 3, 1, 10, tzinfo=UTC), Decimal(1200), 5, 3, 2, 0),
        (2, datetime(2026, 3, 1, 11, 30, tzinfo=UTC), Decimal(0), 1, 0, 1, 0),
    ],
    "Daily active users": [(date(2026, 3, 1), 1, 6), (date(2026, 3, 2), 1, 4)],
}


@pytest.fixture(scope="module")
def shop(warehouse_url):
    """The warehouse with these events loaded and the ready views made."""
    config, secrets = address(warehouse_url)
    with psycopg.connect(warehouse_url, autocommit=True, prepare_threshold=None) as conn:
        for (schema,) in conn.execute(USER_SCHEMAS).fetchall():
            conn.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
        feed = Feed(1, "shop", "src_1", "Javascript", "", "dst_1", "POSTGRES")
        session = PostgresDestination().open(config, secrets, feed)
        events = [log_event(number, *parts) for number, parts in enumerate(EVENTS, 1)]
        session.load(session.prepare(Chunk(0, len(events), events)))
        session.close()
        create_analyst_views(PostgresConfig.from_config(config, secrets), "shop")
        conn.execute("SET search_path TO shop, public")
        conn.execute("SET timezone TO 'UTC'")
        yield conn


def log_event(number, at, kind, user_id, anonymous_id, fields):
    stamp = f"2026-03-{at.replace(' ', 'T')}:00.000Z"
    times = dict.fromkeys(("receivedAt", "sentAt", "originalTimestamp", "timestamp"), stamp)
    ids = {"messageId": f"m{number}", "userId": user_id, "anonymousId": anonymous_id}
    return LoggedEvent(number, f"m{number}", json.dumps({"type": kind, **ids, **times, **fields}))


def test_every_query_of_the_page_has_an_answer():
    assert QUERIES.keys() == ANSWERS.keys()
    assert PAGE.count("```sql") == len(QUERIES)


@pytest.mark.parametrize("name", QUERIES)
def test_the_query_gives_what_was_computed_by_hand(shop, name):
    assert shop.execute(QUERIES[name]).fetchall() == ANSWERS[name]
