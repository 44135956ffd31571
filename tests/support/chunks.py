"""Sessions of a warehouse, and chunks for them: what the tests of loading share."""

from __future__ import annotations

import json
from itertools import count

from psycopg.conninfo import conninfo_to_dict

from destinations.interface import Chunk, LoggedEvent

STAMP = "2026-03-01T12:00:00.000Z"


def address(url):
    """The config and secrets of a destination at the URL."""
    parts = conninfo_to_dict(url)
    config = {
        "host": parts["host"],
        "port": int(parts["port"]),
        "database": parts["dbname"],
        "user": parts["user"],
    }
    return config, {"password": parts["password"]}


def chunk(after, *events):
    numbers = count(after + 1)
    logged = [LoggedEvent(next(numbers), e["messageId"], json.dumps(e)) for e in events]
    return Chunk(after, after + len(logged), logged)


def load(session, *events):
    """Load the events behind the session's cursor, as one chunk."""
    return session.load(session.prepare(chunk(session.position() or 0, *events)))


def track(message_id, received_at=STAMP, **fields):
    event = {"type": "track", "messageId": message_id, "userId": "u1", "event": "Clicked"}
    return {**event, "receivedAt": received_at, "timestamp": received_at, **fields}


def identify(message_id, user_id="u1", received_at=STAMP, **traits):
    event = {"type": "identify", "messageId": message_id, "userId": user_id, "traits": traits}
    return {**event, "receivedAt": received_at, "timestamp": received_at}


def rows(warehouse, query):
    return warehouse.execute(query).fetchall()


def moment(number):
    """The number-th second of a day, as events have it."""
    return f"2026-03-01T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}.000Z"
