"""Advisory locks that let only one worker at a time do a piece of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import psycopg


class Lock(IntEnum):
    """The first key of a lock, by the kind of work; the second is the primary key of its record."""

    LOAD = 0x7275
    REPLAY = 0x7276
    ERASURE = 0x7277
    CHANGE = 0x7278


@contextmanager
def try_lock(conn: psycopg.Connection[tuple[Any, ...]], lock: Lock, pk: int) -> Iterator[bool]:
    """Whether this session got the lock; it does not wait for another session."""
    row = conn.execute("SELECT pg_try_advisory_lock(%s, %s)", [lock, pk]).fetchone()
    is_locked = bool(row and row[0])
    try:
        yield is_locked
    finally:
        if is_locked and not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%s, %s)", [lock, pk])
