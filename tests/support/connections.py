"""Connections to the tests' warehouse, and events in the log for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from psycopg.conninfo import conninfo_to_dict

from events import log
from events.spec import ParsedEvent
from tests.support.factories import make_connection, make_destination, make_source

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_warehouse_connection(url, source=None, **config):
    parts = conninfo_to_dict(url)
    address = {
        "host": parts["host"],
        "port": int(parts.get("port", 5432)),
        "database": parts["dbname"],
        "user": parts["user"],
        "sslmode": parts.get("sslmode", "prefer"),
    }
    destination = make_destination(address | config, {"password": parts.get("password", "")})
    return make_connection(source or make_source(name="Shop"), destination)


def event(message_id, received_at=NOW, **fields):
    """An event as the gateway stores it."""
    stamp = received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    times = dict.fromkeys(("receivedAt", "sentAt", "originalTimestamp", "timestamp"), stamp)
    payload = {"type": "track", "messageId": message_id, "userId": "u1", **times, **fields}
    return ParsedEvent(
        message_id=message_id,
        type=payload["type"],
        event=str(payload.get("event", "")),
        user_id=str(payload.get("userId", "")),
        anonymous_id=str(payload.get("anonymousId", "")),
        payload=json.dumps(payload),
    )


def send(connection, *events, received_at=NOW):
    log.append(connection.source_id, received_at, events, timeout_seconds=5)


def rows(warehouse, query):
    return warehouse.execute(query).fetchall()
