from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.cache import cache

from events import log
from events.loads import run_load
from events.models import Event
from rudderhub.reapplying import Column, Progress
from rudderhub.tasks import widen_and_reapply
from tests.connected import connection, event, send
from tests.factories import make_admin, make_destination

__all__ = ["connection"]

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh():
    cache.clear()


@pytest.fixture
def admin(client):
    client.force_login(make_admin())
    return client


@pytest.fixture
def loaded(connection):
    """Two rows and a discard: the count of m2 did not fit."""
    send(connection, event("m1", event="Paid", properties={"n": 1}))
    run_load(connection)
    send(connection, event("m2", event="Paid", properties={"n": "many"}))
    run_load(connection)
    return connection


def html(response):
    assert response.status_code == 200
    return response.content.decode()


def test_tables_of_a_warehouse_are_listed(admin, loaded):
    assert "shop.paid" in html(admin.get("/admin/tables/"))


def test_a_warehouse_that_is_away_is_named(admin, loaded):
    make_destination(name="Far")

    page = html(admin.get("/admin/tables/"))

    assert "Far" in page
    assert "does not answer" in page


def test_a_table_is_shown_with_columns_rows_and_query(admin, loaded):
    page = html(admin.get(f"/admin/tables/{loaded.destination_id}/shop/paid/"))

    assert "bigint" in page
    assert "m2" in page
    assert "SELECT * FROM &quot;shop&quot;.&quot;paid&quot; LIMIT 100;" in page


@pytest.mark.parametrize("path", ["pg_catalog/pg_authid", "shop/nothing"])
def test_only_tables_of_connections_are_shown(admin, loaded, path):
    assert admin.get(f"/admin/tables/{loaded.destination_id}/{path}/").status_code == 404


def test_an_analyst_sees_no_values(client, loaded):
    analyst = User.objects.create_user("analyst", is_staff=True)
    analyst.user_permissions.add(Permission.objects.get(codename="view_destination"))
    client.force_login(analyst)

    page = html(client.get(f"/admin/tables/{loaded.destination_id}/shop/paid/"))
    export = client.get(f"/admin/discards/{loaded.destination_id}/shop/export/")

    assert "<td>m2</td>" not in page
    assert export.status_code == 403


def test_discards_are_grouped_and_exported(admin, loaded):
    page = html(admin.get("/admin/discards/"))
    export = html(admin.get(f"/admin/discards/{loaded.destination_id}/shop/export/"))

    assert "many" in page
    assert export.splitlines()[1].startswith("paid,n,many,")


def test_discards_are_searched_by_table_column_and_reason(admin, loaded):
    by_column = html(admin.get("/admin/discards/?q=paid.n"))
    nothing = html(admin.get("/admin/discards/?q=other"))

    assert "<td>paid</td>" in by_column
    assert "Nothing matches" in nothing


def test_an_export_of_discards_leaves_an_audit_line(admin, loaded):
    admin.get(f"/admin/discards/{loaded.destination_id}/shop/export/")

    assert LogEntry.objects.filter(change_message="Exported 1 discards of shop.").exists()


def test_widening_says_what_it_touches_and_tells_the_audit_log(admin, loaded):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"

    preview = html(admin.get(path))
    widen_and_reapply(loaded.destination_id, "shop", "paid", "n", User.objects.get().pk)

    assert "1 values of shop.paid.n were discarded." in preview
    assert "1 still do not fit" in LogEntry.objects.get().get_change_message()


def test_the_progress_of_widening_is_shown_until_its_outcome(admin, loaded):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"
    column = Column(loaded.destination_id, "shop", "paid", "n")
    column.tell(Progress(seen=10_000, total=40_000))

    running = html(admin.get(path))
    again = html(admin.post(path, follow=True))
    widen_and_reapply(loaded.destination_id, "shop", "paid", "n", User.objects.get().pk)
    ended = html(admin.get(path))

    assert "25 %" in running
    assert "10000 of 40000 values" in running
    assert "It runs already." in again
    assert "0 re-applied, 1 still do not fit" in ended
    assert "Widen and re-apply</button>" in ended


def test_widening_is_begun_by_a_worker(admin, loaded):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"

    answer = admin.post(path)

    assert answer["Location"] == path
    assert Column(loaded.destination_id, "shop", "paid", "n").progress() == Progress()


def test_the_rows_of_an_event_are_found(admin, loaded):
    m2 = Event.objects.get(message_id="m2")

    page = html(admin.get(f"/admin/events/event/{m2.pk}/in/{loaded.pk}/"))

    assert "shop.tracks" in page
    assert "shop.paid" in page
    assert "paid.n" in page


def test_one_row_of_a_table_is_shown(admin, loaded):
    page = html(admin.get(f"/admin/tables/{loaded.destination_id}/shop/paid/?id=m1"))

    assert "<td>m1</td>" in page
    assert "<td>m2</td>" not in page


def test_the_system_page_hides_secrets(admin, settings):
    page = html(admin.get("/admin/system/"))

    assert "RUDDERHUB_SECRET_KEY" in page
    assert "Postgres: works" in page
    log.close_writer()
