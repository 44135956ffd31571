"""The warehouse that tests load into."""

from __future__ import annotations

import os
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

USER_SCHEMAS = """
    SELECT nspname
    FROM pg_namespace
    WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
    ORDER BY nspname
"""


END_SESSIONS = """
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = %s AND backend_type = 'client backend'
"""


def drop_database(admin, name):
    """Whoever is connected; WITH (FORCE) may not end an autovacuum worker, a plain DROP waits."""
    admin.execute(END_SESSIONS, [name])
    admin.execute(SQL("DROP DATABASE IF EXISTS {}").format(Identifier(name)))


@pytest.fixture(scope="session")
def warehouse_url():
    """A database of its own beside the instance's: RUDDERHUB_TEST_WAREHOUSE_URL names another."""
    if given := os.environ.get("RUDDERHUB_TEST_WAREHOUSE_URL"):
        yield given
        return
    server = os.environ["RUDDERHUB_DATABASE_URL"]
    name = f"test_warehouse_{os.getpid()}"
    with psycopg.connect(server, autocommit=True) as admin:
        drop_database(admin, name)
        admin.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    with psycopg.connect(server, autocommit=True) as admin:
        drop_database(admin, name)


@pytest.fixture
def warehouse(warehouse_url):
    """An autocommit connection to the warehouse with no schema but an empty public."""
    with psycopg.connect(warehouse_url, autocommit=True, prepare_threshold=None) as connection:
        for (schema,) in connection.execute(USER_SCHEMAS).fetchall():
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
        connection.execute("CREATE SCHEMA public")
        yield connection


def address(url):
    """The config and secrets of a destination at the URL."""
    parts = conninfo_to_dict(url)
    config = {
        "host": parts["host"],
        "port": int(parts.get("port", 5432)),
        "database": parts["dbname"],
        "user": parts["user"],
        "sslmode": parts.get("sslmode", "prefer"),
    }
    return config, {"password": parts.get("password", "")}


def rows(warehouse, query):
    return warehouse.execute(query).fetchall()
