"""Plain requests to a running instance, and questions to its databases."""

from __future__ import annotations

import base64
import json
import urllib.request

import psycopg
from psycopg.sql import SQL, Identifier


def html(response):
    """The text of an answer, which has to be 200."""
    assert response.status_code == 200
    return response.content.decode()


def post(instance, path, body):
    """Send with the instance's write key; the answer has to be OK."""
    key = base64.b64encode(f"{instance.write_key}:".encode()).decode()
    request = urllib.request.Request(  # noqa: S310
        f"{instance.base_url}{path}",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Basic {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
        assert response.read() == b"OK"


def log_facts(instance):
    """How many events the log holds, and the id of the last."""
    with psycopg.connect(instance.environment["RUDDERHUB_DATABASE_URL"]) as conn:
        return conn.execute("SELECT count(*), max(id) FROM events_event").fetchone()


def table_of(instance, table):
    return Identifier(instance.namespace, table)


def has_row(warehouse, instance, table, row_id):
    """Whether the table is there and has the row."""
    name = table_of(instance, table)
    found = warehouse.execute("SELECT to_regclass(%s)", [name.as_string(warehouse)]).fetchone()
    if found[0] is None:
        return False
    query = SQL("SELECT 1 FROM {} WHERE id = %s").format(name)
    return warehouse.execute(query, [row_id]).fetchone() is not None
