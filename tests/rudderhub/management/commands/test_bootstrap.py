from __future__ import annotations

import pytest
from django.core.management import call_command

from destinations.models import Connection, Destination
from sources.models import Source, WriteKey

pytestmark = pytest.mark.django_db

WAREHOUSE = "postgresql://warehouse:p%40ss@db.example:6432/facts?sslmode=require"


def bootstrap(monkeypatch, url=WAREHOUSE):
    monkeypatch.setenv("RUDDERHUB_WAREHOUSE_URL", url)
    call_command("bootstrap")


def test_it_creates_a_source_a_key_a_warehouse_and_their_connection(monkeypatch):
    bootstrap(monkeypatch)

    connection = Connection.objects.select_related("source", "destination").get()
    assert (connection.source.name, connection.source.type) == ("Website", "Javascript")
    assert WriteKey.objects.get().source == connection.source
    assert (connection.destination.name, connection.destination.type) == ("Warehouse", "POSTGRES")
    assert connection.destination.secrets == {"password": "p@ss"}
    assert connection.destination.config == {
        "host": "db.example",
        "port": 6432,
        "database": "facts",
        "user": "warehouse",
        "sslmode": "require",
        "identity_schema": "rudder_identity",
    }


def test_it_creates_them_once(monkeypatch):
    bootstrap(monkeypatch)
    key = WriteKey.objects.get().key

    bootstrap(monkeypatch)

    assert Source.objects.count() == Destination.objects.count() == 1
    assert WriteKey.objects.get().key == key


def test_the_warehouse_follows_its_server_to_another_port(monkeypatch):
    bootstrap(monkeypatch)

    bootstrap(monkeypatch, WAREHOUSE.replace("6432", "6543"))

    assert Destination.objects.get().config["port"] == 6543


def test_a_warehouse_that_the_operator_moved_stays_where_it_is(monkeypatch):
    bootstrap(monkeypatch)
    destination = Destination.objects.get()
    destination.secrets = {"password": "another"}
    destination.save()

    bootstrap(monkeypatch, WAREHOUSE.replace("6432", "6543"))

    assert Destination.objects.get().config["port"] == 6432


def test_without_a_warehouse_of_its_own_it_is_our_database(monkeypatch):
    monkeypatch.setenv("RUDDERHUB_DATABASE_URL", "postgresql://me:pw@db.example/ours")

    bootstrap(monkeypatch, "")

    config = Destination.objects.get().config
    assert (config["host"], config["port"], config["database"]) == ("db.example", 5432, "ours")
