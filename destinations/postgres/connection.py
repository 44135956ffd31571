"""Connects to a warehouse, and translates the errors of psycopg to those of the interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from destinations.interface import (
    ChunkRefusedError,
    DestinationError,
    DestinationUnavailableError,
)
from destinations.postgres.config import PostgresConfig

Conn = psycopg.Connection[tuple[Any, ...]]

OLDEST_VERSION = 15
UNAVAILABLE = ("08", "53", "57", "58", "25006", "40001", "40P01", "55P03")
"""Prefixes of SQLSTATEs of errors that the next attempt may not meet."""
MISCONFIGURED = ("28", "3D", "3F", "42", "0A")
"""Prefixes of SQLSTATEs of errors that last until somebody changes something."""

SETTINGS = """
SET lock_timeout = '30s';
SET jit = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET enable_seqscan = off
"""
"""Settings of a session that end long waits and make joins of staged rows use the key."""

TABLE_EXISTS = "SELECT to_regclass(format('%%I.%%I', %s::text, %s::text)) IS NOT NULL"


def connect(config: PostgresConfig) -> Conn:
    """A connection in autocommit and READ COMMITTED; DestinationError if it cannot be loaded."""
    try:
        conn = psycopg.connect(config.conninfo(), autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise DestinationUnavailableError(one_line(error)) from error
    try:
        _check_server(conn)
        conn.execute(SETTINGS)
    except DestinationError:
        conn.close()
        raise
    return conn


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise psycopg's errors as the interface's error with the same remedy."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if not state or state.startswith(UNAVAILABLE):
            raise DestinationUnavailableError(primary_message(error)) from error
        if state.startswith(MISCONFIGURED):
            raise DestinationError(primary_message(error)) from error
        raise ChunkRefusedError(one_line(error)) from error


def primary_message(error: psycopg.Error) -> str:
    """The message without detail and context, as these quote rows."""
    return error.diag.message_primary or one_line(error)


def one_line(error: Exception) -> str:
    """The whole message, or the name of the error's class when it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def table_exists(conn: Conn, schema: str, table: str) -> bool:
    """Whether the schema has a table, a view or another relation of this name."""
    row = conn.execute(TABLE_EXISTS, [schema, table]).fetchone()
    return bool(row and row[0])


def _check_server(conn: Conn) -> None:
    version = conn.info.server_version // 10_000
    if version < OLDEST_VERSION:
        raise DestinationError(
            f"the warehouse is PostgreSQL {version}, expected {OLDEST_VERSION} or newer"
        )
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DestinationError(f"the warehouse's encoding is {encoding}, expected UTF8")
