from __future__ import annotations

import hypothesis
import pytest
from django.test import Client, override_settings

from destinations.interface import Feed
from destinations.postgres.destination import PostgresDestination
from events.log import writer
from tests.support.connections import make_warehouse_connection
from tests.support.database import empty_few_tables
from tests.support.factories import make_admin, make_staff
from tests.support.instance import RunningInstance
from tests.support.warehouse import address

# An example takes longer on a machine with other work to do; each test has a limit of its own
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup):
    empty_few_tables()


@pytest.fixture(scope="session", autouse=True)
def _quick_hashes():
    """A hash that is meant to take long takes half a second."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session")
def instance():
    """A running instance that the whole session shares; leave its parts running."""
    running = RunningInstance()
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
def admin_client(client):
    """The test's client, logged in as the superuser "ada"."""
    client.force_login(make_admin(username="ada"))
    return client


@pytest.fixture
def staff_client():
    """Gives a client of its own, logged in as a member of the staff with these rights only."""

    def logged_in(*permissions, role=None):
        client = Client()
        client.force_login(make_staff(*permissions, role=role))
        return client

    return logged_in


@pytest.fixture
def connection(warehouse, warehouse_url):
    """From a source "Shop" to an empty warehouse."""
    yield make_warehouse_connection(warehouse_url)
    writer.close_writer()


@pytest.fixture
def open_session(warehouse, warehouse_url):
    """Opens sessions of the Postgres destination, closed when the test ends."""
    config, secrets = address(warehouse_url)
    sessions = []

    def opened(connection_id=1, namespace="shop", source="src_1", **options):
        given = {key: options.pop(key) for key in ("password",) if key in options}
        feed = Feed(connection_id, namespace, source, "Javascript", "", "dst_1", "POSTGRES")
        sessions.append(PostgresDestination().open(config | options, secrets | given, feed))
        return sessions[-1]

    yield opened
    for session in sessions:
        session.close()
