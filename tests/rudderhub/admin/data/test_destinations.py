from __future__ import annotations

import logging
import socket
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection

from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection_check import STEPS, check_connection
from tests.support.factories import make_connection, make_destination
from tests.support.http import html
from tests.support.stub_servers import hanging_up_on_all

PASSWORD = "s3cret-of-the-warehouse"

pytestmark = pytest.mark.django_db


def own_server(**changes: Any) -> dict[str, Any]:
    """The address of the tests' own database."""
    settings = connection.settings_dict
    address = {"host": settings["HOST"], "port": int(settings["PORT"] or 5432)}
    return address | {"database": settings["NAME"], "user": settings["USER"]} | changes


def own_password() -> str:
    return str(connection.settings_dict["PASSWORD"])


def form(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Warehouse",
        "type": "POSTGRES",
        "enabled": "on",
        "host": "db.example",
        "port": "5432",
        "database": "warehouse",
        "user": "loader",
        "password": "",
        "sslmode": "require",
        "identity_schema": "rudder_identity",
        "resolve_identities": "on",
        "widen_rows": "1000000",
        "column_budget": "500",
        "syncFrequency": "0",
        **changes,
    }


def url(destination: Destination, name: str = "change") -> str:
    return f"/admin/destinations/destination/{destination.pk}/{name}/"


def test_a_destination_is_made_from_the_form(admin_client):
    given = form(password=PASSWORD, storeFullEvent="on", jsonPaths="track.properties.cart")

    html(admin_client.post("/admin/destinations/destination/add/", given, follow=True))

    destination = Destination.objects.get()
    assert destination.secrets == {"password": PASSWORD}
    assert destination.config == {
        "host": "db.example",
        "port": 5432,
        "database": "warehouse",
        "user": "loader",
        "sslmode": "require",
        "namespace": "",
        "identity_schema": "rudder_identity",
        "resolve_identities": True,
        "trait_identifiers": "",
        "widen_rows": 1_000_000,
        "column_budget": 500,
        "syncFrequency": 0,
        "syncStartAt": "",
        "excludeWindowStartTime": "",
        "excludeWindowEndTime": "",
        "skipTracksTable": False,
        "skipUsersTable": False,
        "underscoreDivideNumbers": False,
        "allowUsersContextTraits": False,
        "storeFullEvent": True,
        "jsonPaths": "track.properties.cart",
    }


def test_the_password_is_never_rendered(admin_client):
    destination = make_destination(secrets={"password": PASSWORD})
    wrong = form(password=PASSWORD, port="0")

    shown = html(admin_client.get(url(destination)))
    refused = html(admin_client.post(url(destination), wrong))
    checked = html(admin_client.post(url(destination, "check")))
    listed = html(admin_client.get("/admin/destinations/destination/"))

    assert all(PASSWORD not in page for page in (shown, refused, checked, listed))
    assert "stored; leave empty to keep it" in shown


def test_neither_history_nor_logs_hold_the_password(admin_client, caplog):
    caplog.set_level(logging.DEBUG)
    destination = make_destination(form(), secrets={})

    admin_client.post(url(destination), form(password=PASSWORD))
    admin_client.post(url(destination, "check"))

    history = LogEntry.objects.get().change_message
    assert "password" in history
    assert PASSWORD not in history
    assert PASSWORD not in caplog.text


def test_an_empty_password_keeps_the_stored_one(admin_client):
    address = {"host": "db.example", "port": 5432, "user": "loader"}
    destination = make_destination(address, secrets={"password": PASSWORD})

    admin_client.post(url(destination), form(database="other"))

    destination.refresh_from_db()
    assert destination.config["database"] == "other"
    assert destination.secrets == {"password": PASSWORD}


@pytest.mark.parametrize("change", [{"host": "evil.example"}, {"port": "6000"}, {"user": "eve"}])
def test_the_stored_password_is_not_sent_to_another_address(admin_client, change):
    address = {"host": "db.example", "port": 5432, "user": "loader"}
    destination = make_destination(address, secrets={"password": PASSWORD})

    shown = html(admin_client.post(url(destination), form(**change)))

    assert "Enter the password again" in shown
    destination.refresh_from_db()
    assert destination.config["host"] == "db.example"


def test_a_stored_password_can_be_removed(admin_client):
    destination = make_destination(secrets={"password": PASSWORD})

    admin_client.post(url(destination), form(remove_password="on"))

    destination.refresh_from_db()
    assert destination.secrets == {}


def test_config_that_the_form_does_not_know_stays(admin_client):
    destination = make_destination({"preferAppend": True}, secrets={})

    admin_client.post(url(destination), form())

    destination.refresh_from_db()
    assert destination.config["preferAppend"] is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"port": "70000"}, "less than or equal to 65535"),
        ({"host": ""}, "This field is required"),
        ({"sslmode": "maybe"}, "Select a valid choice"),
        ({"namespace": "Pg Shop"}, "Use lower-case letters, digits and underscores"),
        ({"namespace": "pg_shop"}, "It cannot start with a digit"),
        ({"trait_identifiers": "email, userId"}, "cannot be an identifier of its own type"),
        ({"namespace": "rudder_identity"}, "Use a separate schema for identities"),
        ({"syncFrequency": "5000"}, "<li>It is 5000, expected minutes from 0 to 1440.</li>"),
        (
            {"excludeWindowStartTime": "25:00", "excludeWindowEndTime": "01:00"},
            "<li>It is &#x27;25:00&#x27;, expected HH:MM in UTC.</li>",
        ),
    ],
)
def test_a_bad_setting_is_refused_in_words(admin_client, change, words):
    shown = html(admin_client.post("/admin/destinations/destination/add/", form(**change)))

    assert words in shown
    assert not Destination.objects.exists()


def test_the_saved_settings_are_shown_again(admin_client):
    destination = make_destination({"host": "db7.example", "port": 6543, "skipUsersTable": True})

    shown = html(admin_client.get(url(destination)))

    assert 'value="db7.example"' in shown
    assert 'value="6543"' in shown


def test_the_test_goes_through_every_step_and_leaves_nothing(admin_client):
    secrets = {"password": own_password()}
    destination = make_destination(own_server(sslmode="prefer"), secrets)

    shown = html(admin_client.post(url(destination, "check")))

    assert "can be loaded" in shown
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'rudderhub_check%%'")
        assert cursor.fetchone() == (0,)


def test_all_steps_are_named_when_all_pass():
    steps = check_connection(PostgresConfig.from_config(own_server(), {"password": own_password()}))

    assert [step.name for step in steps if step.ok] == list(STEPS)


def failing_step(**changes: Any) -> tuple[str, str]:
    secrets = {"password": changes.pop("password", own_password())}
    step = check_connection(PostgresConfig.from_config(own_server(**changes), secrets))[-1]
    assert not step.ok
    return step.name, step.detail


@pytest.mark.parametrize("host", ["no-such-host.invalid", "two..dots", "a" * 64 + ".example"])
def test_a_host_that_does_not_exist_fails_at_reaching_it(host):
    name, detail = failing_step(host=host)

    assert name == "Reach the server"
    assert f"{host!r} cannot be resolved" in detail


def test_a_closed_port_fails_at_reaching_it():
    name, detail = failing_step(host="127.0.0.1", port=1)

    assert name == "Reach the server"
    assert "No server listens at 127.0.0.1 port 1." in detail


def test_a_wrong_password_fails_at_logging_in():
    name, detail = failing_step(password=PASSWORD)

    assert name == "Log in"
    assert "password is wrong" in detail
    assert PASSWORD not in detail


def test_a_missing_database_fails_at_logging_in():
    name, detail = failing_step(database="no_such_database")

    assert name == "Log in"
    assert "Database 'no_such_database' does not exist." in detail


def test_a_server_without_tls_fails_at_tls_when_it_is_required():
    name, detail = failing_step(sslmode="require")

    assert name == "TLS"
    assert "offers no TLS" in detail


@pytest.fixture
def weak_user():
    """A role that may connect and no more."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE ROLE rudderhub_weak LOGIN PASSWORD 'weak'")
    yield "rudderhub_weak"
    with connection.cursor() as cursor:
        cursor.execute("DROP ROLE rudderhub_weak")


@pytest.mark.django_db(transaction=True)
def test_a_user_without_rights_fails_at_creating_a_schema(weak_user):
    name, detail = failing_step(user=weak_user, password="weak")

    assert name == "Create a schema"
    assert "GRANT CREATE, TEMPORARY ON DATABASE" in detail


@pytest.mark.django_db(transaction=True)
def test_a_schema_of_somebody_else_fails_at_using_it(weak_user):
    config = PostgresConfig.from_config(own_server(user=weak_user), {"password": "weak"})
    name = connection.settings_dict["NAME"]
    with connection.cursor() as cursor:
        cursor.execute(f'GRANT CREATE, TEMPORARY ON DATABASE "{name}" TO {weak_user}')
        cursor.execute("CREATE SCHEMA taken")
    closed = check_connection(config, ["taken", "not_there"])[-1]
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT USAGE, CREATE ON SCHEMA taken TO {weak_user}")
    opened = check_connection(config, ["taken"])[-1]
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA taken")
        cursor.execute(f'REVOKE ALL ON DATABASE "{name}" FROM {weak_user}')

    assert (closed.name, closed.ok) == ("Use its schemas", False)
    assert closed.detail.endswith(f'run: GRANT USAGE, CREATE ON SCHEMA "taken" TO "{weak_user}"')
    assert (opened.ok, opened.detail) == (True, "allowed in taken")


def test_a_server_that_never_answers_fails_at_log_in_with_advice():
    with socket.create_server(("127.0.0.1", 0)) as server:
        name, detail = failing_step(host="127.0.0.1", port=server.getsockname()[1])

    assert name == "Log in"
    assert "sent no reply for 5 seconds. Check that it is Postgres" in detail


def test_the_list_tests_connections_at_once(admin_client):
    with hanging_up_on_all(4) as port:
        address = {"host": "127.0.0.1", "port": port}
        mute = [make_destination(address).pk for _ in range(4)]
        chosen = {"_selected_action": mute, "action": "test_connection"}
        shown = html(admin_client.post("/admin/destinations/destination/", chosen, follow=True))

    assert shown.count("server closed the connection unexpectedly") == 4


def test_two_destinations_do_not_share_their_identities(admin_client):
    add = "/admin/destinations/destination/add/"
    admin_client.post(add, form(name="First"))

    refused = html(admin_client.post(add, form(name="Second")))
    admin_client.post(add, form(name="Third", identity_schema="third"))
    first = Destination.objects.get(name="First")
    admin_client.post(url(first, "change"), form(name="Renamed"))

    assert "It is used by First. Choose another." in refused
    assert sorted(destination.name for destination in Destination.objects.all()) == [
        "Renamed",
        "Third",
    ]


def test_the_list_tests_connections_and_names_the_failing_step(admin_client):
    destination = make_destination(name="Far away")
    chosen = {"_selected_action": [destination.pk], "action": "test_connection"}

    shown = html(admin_client.post("/admin/destinations/destination/", chosen, follow=True))

    assert "Far away: Reach the server failed." in shown


def test_an_incomplete_config_is_reported_without_a_connection(admin_client):
    destination = make_destination({"host": ""})

    shown = html(admin_client.post(url(destination, "check")))

    assert "the config of the warehouse lacks host" in shown


def test_a_test_is_started_by_post_only(admin_client):
    assert admin_client.get(url(make_destination(), "check")).status_code == 405


def test_a_destination_without_a_source_says_so(admin_client):
    lonely, fed = make_destination(), make_connection().destination

    assert "No source is connected to this destination" in html(admin_client.get(url(lonely)))
    assert "No source is connected to this destination" not in html(admin_client.get(url(fed)))


def test_destinations_are_switched_from_the_list(admin_client):
    destination = make_destination()
    chosen = {"_selected_action": [destination.pk]}

    admin_client.post("/admin/destinations/destination/", chosen | {"action": "disable"})

    destination.refresh_from_db()
    assert not destination.enabled
