"""What has to be in the warehouse for the events that an SDK has sent."""

from __future__ import annotations

import psycopg
from psycopg.sql import SQL, Identifier

from tests.support.wait import wait_for

TABLES = {
    "identify": "identifies",
    "track": "tracks",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}
LOAD_SECONDS = 60


class Warehouse:
    def __init__(self, info):
        self._schema = info["namespace"]
        self._mappings = Identifier(info["identity_schema"], "rudder_identity_mappings")
        self._conn = psycopg.connect(info["warehouse_dsn"], autocommit=True, prepare_threshold=None)

    def close(self):
        self._conn.close()

    def rows(self, table, ids):
        """The rows of a table with these ids, each as a dict."""
        name = Identifier(self._schema, table)
        found = self._conn.execute("SELECT to_regclass(%s)", [name.as_string(self._conn)])
        if found.fetchone()[0] is None:
            return []
        query = SQL("SELECT to_jsonb(r) FROM {} AS r WHERE id = ANY(%s) ORDER BY id").format(name)
        return [row for (row,) in self._conn.execute(query, [list(ids)])]

    def loaded(self, table, ids):
        """The same, when all of them have been loaded."""
        wait_for(lambda: len(self.rows(table, ids)) >= len(ids), LOAD_SECONDS)
        return self.rows(table, ids)

    def rudder_id(self, kind, value):
        query = SQL(
            """
            SELECT rudder_id
            FROM {mappings}
            WHERE merge_property_type = %s AND merge_property_value = %s
            """
        ).format(mappings=self._mappings)
        row = self._conn.execute(query, [kind, value]).fetchone()
        return row[0] if row else None


def assert_loaded(warehouse, messages):
    """Each message has one row in its table, with its user, device, library and page address."""
    for kind, table in TABLES.items():
        sent = sorted((m for m in messages if m["type"] == kind), key=lambda m: m["messageId"])
        rows = warehouse.loaded(table, [message["messageId"] for message in sent])
        assert [_facts_of_row(row) for row in rows] == [_facts_of_message(m) for m in sent]


def assert_the_docs_calls(warehouse, messages, kinds):
    """The calls of our docs, one of each kind, and what they say."""
    ids = {message["type"]: message["messageId"] for message in messages}
    assert sorted(message["type"] for message in messages) == sorted(kinds)
    for kind in kinds:
        (row,) = warehouse.rows(TABLES[kind], [ids[kind]])
        assert SAID[kind](row), row
    (order,) = warehouse.loaded("order_completed", [ids["track"]])
    assert order["revenue"] == 39.95


SAID = {
    "identify": lambda row: (
        "ann@example.com" in {row.get("email"), row.get("context_traits_email")}
        and row["user_id"] == "user-1"
    ),
    "track": lambda row: row["event_text"] == "Order Completed" and row["user_id"] == "user-1",
    "page": lambda row: row["name"] == "Getting started",
    "screen": lambda row: row["name"] == "Basket",
    "group": lambda row: row["group_id"] == "team-1",
    "alias": lambda row: row["previous_id"] == "visitor-1",
}


def _facts_of_row(row):
    names = ("id", "user_id", "anonymous_id", "context_library_name", "context_page_url")
    return tuple(row.get(name) for name in names)


def _facts_of_message(message):
    context = message.get("context", {})
    return (
        message["messageId"],
        message.get("userId") or None,
        message.get("anonymousId") or None,
        context.get("library", {}).get("name"),
        context.get("page", {}).get("url"),
    )
