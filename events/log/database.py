"""Psycopg connections to Django's database, for the event log."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import connection


def log_connection(**options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A new connection in autocommit, which the caller closes."""
    params = connection.get_connection_params()
    names = ("host", "port", "dbname", "user", "password", "connect_timeout", "sslmode")
    return psycopg.connect(
        **{name: params[name] for name in names if params.get(name)}, autocommit=True, **options
    )


def log_reader() -> psycopg.Connection[tuple[Any, ...]]:
    """A connection that reads the log by its index, even if a new partition has no statistics."""
    return log_connection(options="-c enable_seqscan=off -c enable_bitmapscan=off")
