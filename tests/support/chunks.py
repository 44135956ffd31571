"""Sessions of a warehouse, and chunks for them: what the tests of loading share."""

from __future__ import annotations

import json
from itertools import count

from destinations.interface import Chunk, LoggedEvent


def chunk(after, *events):
    numbers = count(after + 1)
    logged = [LoggedEvent(next(numbers), e["messageId"], json.dumps(e)) for e in events]
    return Chunk(after, after + len(logged), logged)


def load(session, *events):
    """Load the events behind the session's cursor, as one chunk."""
    return session.load(session.prepare(chunk(session.position() or 0, *events)))
