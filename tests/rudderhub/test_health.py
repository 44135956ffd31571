from __future__ import annotations

import json

import pytest
from django.db import connection

pytestmark = pytest.mark.django_db


def test_health_says_that_events_can_be_stored(client):
    response = client.get("/health")

    assert response.status_code == 200
    assert json.loads(response.content) == {"server": "UP", "db": "UP", "acceptingEvents": "TRUE"}


def test_a_read_only_postgres_takes_no_events(client):
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION READ ONLY")

    response = client.get("/health")

    assert response.status_code == 503
    assert json.loads(response.content) == {"server": "UP", "db": "UP", "acceptingEvents": "FALSE"}


def test_the_root_leads_to_the_admin(client):
    assert client.get("/")["Location"] == "/admin/"
