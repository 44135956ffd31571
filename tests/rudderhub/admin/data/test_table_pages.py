"""The pages of tables: what they count, what they estimate, and who looked."""

from __future__ import annotations

import socket
from datetime import UTC, datetime

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils.html import escape
from psycopg.sql import SQL, Identifier

from destinations.postgres.config import PostgresConfig
from destinations.postgres.reads import tables as reads_tables
from events.loads.run import run_load
from tests.support.connections import send
from tests.support.events import track
from tests.support.factories import make_destination
from tests.support.http import html
from tests.support.stub_servers import hanging_up_on_all

pytestmark = pytest.mark.django_db(transaction=True)

LATER = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def viewer(staff_client):
    return staff_client("view_destination")


@pytest.fixture
def loaded(connection):
    """Two payments and a discard: the count of m2 did not fit."""
    send(connection, track("m1", event="Paid", properties={"n": 1}))
    run_load(connection)
    send(connection, track("m2", LATER, event="Paid", properties={"n": "many"}))
    run_load(connection)
    return connection


def table_url(connection, name="paid"):
    return f"/admin/tables/{connection.destination_id}/shop/{name}/"


def tables_by_name(connection, schemas=("shop",)):
    """The tables by name."""
    destination = connection.destination
    config = PostgresConfig.from_config(destination.config, destination.secrets)
    with reads_tables.connect_read_only(config) as conn:
        return {table.name: table for table in reads_tables.table_summaries(conn, schemas)}


def test_a_small_table_is_counted(loaded):
    paid = tables_by_name(loaded)["paid"]

    assert (paid.rows, paid.newest, paid.exact) == (2, LATER, True)


@pytest.fixture
def big(warehouse):
    """A table of too many blocks to be counted, which nothing has analysed; one row a block."""
    warehouse.execute("CREATE TABLE shop.big (received_at timestamptz, filling text)")
    warehouse.execute(
        "ALTER TABLE shop.big ALTER filling SET STORAGE PLAIN, SET (autovacuum_enabled = off)"
    )
    warehouse.execute(
        "INSERT INTO shop.big SELECT %s, repeat('x', 5000) FROM generate_series(0, %s)",
        [LATER, reads_tables.COUNTED_BLOCKS],
    )


def test_a_big_table_is_estimated_and_its_newest_row_is_sought_at_its_end(loaded, warehouse, big):
    before = tables_by_name(loaded)["big"]
    warehouse.execute("ANALYZE shop.big")

    after = tables_by_name(loaded)["big"]

    assert (before.rows, before.newest, before.exact) == (None, LATER, False)
    assert (after.rows, after.newest, after.exact) == (129, LATER, False)


def test_only_the_end_of_a_big_table_is_read(loaded, warehouse, big):
    first_block = reads_tables.COUNTED_BLOCKS + 1 - reads_tables.NEWEST_BLOCKS
    first_row = f"({first_block},1)"
    warehouse.execute("DELETE FROM shop.big WHERE ctid > %s::tid", [first_row])
    with_one_row = tables_by_name(loaded)["big"].newest
    warehouse.execute("DELETE FROM shop.big WHERE ctid >= %s::tid", [first_row])
    without_rows = tables_by_name(loaded)["big"].newest

    assert (with_one_row, without_rows) == (LATER, None)


def test_an_empty_table_has_no_newest_row(loaded, warehouse):
    warehouse.execute("CREATE TABLE shop.nothing (received_at timestamptz)")

    nothing = tables_by_name(loaded)["nothing"]

    assert (nothing.rows, nothing.newest, nothing.exact) == (0, None, True)


@pytest.mark.parametrize(
    "columns", ["id int", "received_at text", "received_at timestamptz) PARTITION BY LIST (id"]
)
def test_tables_of_other_tools_are_listed_without_a_newest_row(loaded, warehouse, columns):
    columns = columns.replace("timestamptz)", "timestamptz, id int)")
    warehouse.execute(f"CREATE TABLE shop.other ({columns})")

    assert tables_by_name(loaded)["other"].newest is None


def test_a_locked_table_is_shown_with_estimates(loaded, warehouse):
    with warehouse.transaction():
        warehouse.execute("LOCK TABLE shop.paid IN ACCESS EXCLUSIVE MODE")

        tables = tables_by_name(loaded)

    assert tables["paid"].exact is False
    assert tables["tracks"].newest is None


def test_a_table_that_may_not_be_read_does_not_hide_the_others(loaded, warehouse):
    warehouse.execute("CREATE TABLE shop.closed (received_at timestamptz)")
    warehouse.execute("REVOKE ALL ON shop.closed FROM CURRENT_USER")

    tables = tables_by_name(loaded)

    assert tables["paid"].rows == 2
    assert tables["closed"].newest is None


def test_the_list_shows_counts_and_times(admin_client, loaded):
    page = html(admin_client.get("/admin/tables/"))

    assert '<td class="rh-number">2</td>' in page
    assert 'title="2026-03-02 12:00:00.000 UTC"' in page


def test_columns_show_their_origin_age_and_discards(admin_client, loaded):
    page = html(admin_client.get(table_url(loaded)))

    assert "A property, first seen on" in page
    assert "When rudderhub accepted the event." in page
    assert "widen/?table=paid&amp;column=n" in page


def test_a_view_of_rows_is_recorded_in_the_audit_log(admin_client, loaded):
    html(admin_client.get(table_url(loaded)))

    entry = LogEntry.objects.get()
    assert entry.change_message == "Viewed rows of shop.paid."
    assert entry.object_id == str(loaded.destination_id)


def test_hidden_rows_are_not_logged_as_a_view(viewer, loaded):
    page = html(viewer.get(table_url(loaded)))

    assert "Values are hidden" in page
    assert "many" not in page
    assert "widen/?table" not in page
    assert not LogEntry.objects.exists()


def test_a_table_of_a_schema_without_discards_is_shown(admin_client, connection):
    send(connection, track("m1", event="Paid", properties={"n": 1}))
    run_load(connection)

    assert "first seen on" in html(admin_client.get(table_url(connection)))


def test_tables_are_found_by_name_and_destination(admin_client, loaded):
    make_destination(name="Far")
    destination = loaded.destination_id

    by_name = html(admin_client.get(f"/admin/tables/?q=SHOP.pa&destination={destination}"))
    nothing = html(admin_client.get("/admin/tables/?q=nonsense"))

    assert ">shop.paid<" in by_name
    assert ">shop.tracks<" not in by_name
    assert "No server listens there" not in by_name
    assert "Nothing matches" in nothing


@pytest.mark.parametrize("name", ["a/b", '<b>"q" ü', "a?b#c", "100%", "a/"])
def test_a_table_of_any_name_is_listed_and_shown(admin_client, loaded, warehouse, name):
    warehouse.execute(SQL('CREATE TABLE {} ("<i>" text)').format(Identifier("shop", name)))

    listed = html(admin_client.get("/admin/tables/"))
    shown = admin_client.get(reverse("table", args=[loaded.destination_id, "shop", name]))

    assert escape(f"shop.{name}") in listed
    assert "<code>&lt;i&gt;</code>" in html(shown)


def test_only_the_fill_of_a_small_table_is_counted(admin_client, loaded, big):
    counted = html(admin_client.get(table_url(loaded)))
    sampled = html(admin_client.get(table_url(loaded, "big")))

    assert ">50%<" in counted
    assert ">100%<" in counted
    assert "not sampled yet" not in counted
    assert "not sampled yet" in sampled


def test_a_table_that_has_used_its_column_budget_is_called_full(admin_client, loaded):
    loaded.destination.config["column_budget"] = 20
    loaded.destination.save()
    send(loaded, track("m3", event="Paid", properties={f"p{n}": n for n in range(20)}))
    run_load(loaded)

    listed = html(admin_client.get("/admin/tables/"))

    assert listed.count(">full<") == 1
    assert ">full<" in html(admin_client.get(table_url(loaded)))


@pytest.mark.parametrize(
    "what", ["tables/{}/shop/paid", "discards/{}/shop/widen", "discards/{}/shop/export"]
)
def test_an_unavailable_warehouse_is_reported_with_the_next_step(admin_client, loaded, what):
    loaded.destination.config["port"] = 1
    loaded.destination.save()

    answer = admin_client.get(f"/admin/{what.format(loaded.destination_id)}/")

    assert answer.status_code == 503
    assert "No server listens there. Start it" in answer.content.decode()


def test_a_warehouse_that_never_answers_does_not_hide_the_others(admin_client, loaded):
    with socket.create_server(("127.0.0.1", 0)) as server:
        make_destination({"host": "127.0.0.1", "port": server.getsockname()[1]})
        page = html(admin_client.get("/admin/tables/"))

    assert ">shop.paid<" in page
    assert page.count("connection timeout expired") == 1


def test_all_warehouses_are_queried_at_the_same_time(admin_client, loaded):
    with hanging_up_on_all(6) as port:
        for number in range(6):
            make_destination({"host": "127.0.0.1", "port": port}, name=f"Mute {number}")
        page = html(admin_client.get("/admin/tables/"))

    assert page.count("server closed the connection unexpectedly") == 6
