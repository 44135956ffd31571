from __future__ import annotations

import json
import re

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db

WELL = {
    "server": "UP",
    "db": "UP",
    "cache": "UP",
    "acceptingEvents": "TRUE",
    "rateLimits": "TRUE",
    "notes": [],
}


def test_health_says_that_events_can_be_stored(client):
    response = client.get("/health")

    assert response.status_code == 200
    assert json.loads(response.content) == WELL


def test_a_read_only_postgres_takes_no_events(client):
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    response = client.get("/health")

    assert response.status_code == 503
    assert json.loads(response.content) == WELL | {
        "acceptingEvents": "FALSE",
        "notes": ["Postgres is read-only; events are refused with 503"],
    }


def test_the_root_leads_to_the_admin(client):
    assert client.get("/")["Location"] == "/admin/"


def test_the_docs_load_nothing_from_other_hosts(client):
    page = client.get("/docs").content.decode()

    head = page.partition("<pre>")[0]
    assert re.findall(r'(?:src|href)="([^"]*)"', head) == ["/openapi.yaml"]
    assert "@import" not in head
    assert "url(" not in head
    assert "<" not in page.partition("<pre>")[2].partition("</pre>")[0]
