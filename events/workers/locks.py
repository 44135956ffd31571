"""Advisory locks that let only one worker at a time do a piece of work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import psycopg
from psycopg.sql import SQL, Placeholder


class Lock(IntEnum):
    """The first key of a lock, by the kind of work; the second is the primary key of its record."""

    LOAD = 0x7275
    REPLAY = 0x7276
    ERASURE = 0x7277
    CHANGE = 0x7278


@contextmanager
def try_lock(conn: psycopg.Connection[tuple[Any, ...]], *key: int) -> Iterator[bool]:
    """Whether this session got the lock, without waiting; the key is one bigint or two integers."""
    places = SQL(", ").join([Placeholder()] * len(key))
    row = conn.execute(SQL("SELECT pg_try_advisory_lock({})").format(places), key).fetchone()
    is_locked = bool(row and row[0])
    try:
        yield is_locked
    finally:
        if is_locked and not conn.closed:
            conn.execute(SQL("SELECT pg_advisory_unlock({})").format(places), key)
