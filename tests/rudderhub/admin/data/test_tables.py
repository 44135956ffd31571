from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone

from events.loads.discards import DiscardColumn, Progress
from events.loads.run import run_load
from events.log import writer
from events.models import Event
from events.tasks import reapply_column_discards
from tests.support.connections import send
from tests.support.events import track
from tests.support.factories import make_destination
from tests.support.http import html

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _fresh():
    cache.clear()


@pytest.fixture
def loaded(connection):
    """Two rows and a discard: the count of m2 did not fit."""
    send(connection, track("m1", event="Paid", properties={"n": 1}))
    run_load(connection)
    send(connection, track("m2", event="Paid", properties={"n": "many"}))
    run_load(connection)
    return connection


def lines(response):
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode("utf-8-sig").splitlines()


def test_tables_of_a_warehouse_are_listed(admin_client, loaded):
    assert "shop.paid" in html(admin_client.get("/admin/tables/"))


def test_a_warehouse_that_is_away_is_named(admin_client, loaded):
    make_destination(name="Far")

    page = html(admin_client.get("/admin/tables/"))

    assert "Far" in page
    assert "No server listens there. Start it, or correct the host and port." in page


def test_a_table_is_shown_with_columns_rows_and_query(admin_client, loaded):
    page = html(admin_client.get(f"/admin/tables/{loaded.destination_id}/shop/paid/"))

    assert "bigint" in page
    assert "m2" in page
    assert "SELECT * FROM &quot;shop&quot;.&quot;paid&quot; LIMIT 100;" in page


@pytest.mark.parametrize("path", ["pg_catalog/pg_authid", "shop/nothing"])
def test_only_tables_of_connections_are_shown(admin_client, loaded, path):
    assert admin_client.get(f"/admin/tables/{loaded.destination_id}/{path}/").status_code == 404


def test_an_analyst_sees_no_values(staff_client, loaded):
    client = staff_client("view_destination")

    page = html(client.get(f"/admin/tables/{loaded.destination_id}/shop/paid/"))
    export = client.get(f"/admin/discards/{loaded.destination_id}/shop/export/")

    assert "<td>m2</td>" not in page
    assert export.status_code == 403


def test_discards_are_grouped_and_exported(admin_client, loaded):
    page = html(admin_client.get("/admin/discards/"))
    export = lines(admin_client.get(f"/admin/discards/{loaded.destination_id}/shop/export/"))

    assert "many" in page
    assert export[0] == "table,column,value,reason,row,received_at"
    assert export[1].startswith("paid,n,many,")


def test_discards_are_searched_by_table_column_and_reason(admin_client, loaded):
    destination = loaded.destination_id
    by_column = html(
        admin_client.get(f"/admin/discards/?q=Paid.n&table=paid&destination={destination}")
    )
    nothing = [
        html(admin_client.get(f"/admin/discards/?{query}"))
        for query in ("q=other", "table=pai", f"q=paid&destination={destination + 1}")
    ]

    assert "<td>paid</td>" in by_column
    assert ["Nothing matches" in page for page in nothing] == [True, True, True]


def test_an_export_of_discards_leaves_an_audit_line(admin_client, loaded):
    admin_client.get(f"/admin/discards/{loaded.destination_id}/shop/export/")

    assert LogEntry.objects.filter(change_message="Exported 1 discards of shop.").exists()


def test_widening_shows_its_effect_and_is_recorded_in_the_audit_log(admin_client, loaded):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"

    preview = html(admin_client.get(path))
    reapply_column_discards(loaded.destination_id, "shop", "paid", "n", User.objects.get().pk)

    assert "1 value of shop.paid.n was discarded." in preview
    assert "<code>bigint</code> and becomes <code>numeric</code>" in preview
    assert "<strong>None of these values would fit.</strong>" in preview
    assert (
        "the column is numeric now; 0 re-applied, 1 still do not fit"
        in LogEntry.objects.get().get_change_message()
    )


def test_the_progress_of_widening_is_shown_until_its_outcome(admin_client, loaded):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"
    column = DiscardColumn(loaded.destination_id, "shop", "paid", "n")
    column.save_progress(Progress(seen=10_000, total=40_000))

    running = html(admin_client.get(path))
    again = html(admin_client.post(path, follow=True))
    reapply_column_discards(loaded.destination_id, "shop", "paid", "n", User.objects.get().pk)
    ended = html(admin_client.get(path))

    assert "25 %" in running
    assert "10,000 of 40,000 values" in running
    assert "It is already running." in again
    assert "0 re-applied, 1 still do not fit" in ended
    assert "<code>numeric</code> and does not change" in ended
    assert "</button>" not in ended.partition("and does not change")[2].partition("Back")[0]


def test_widening_that_has_gone_silent_can_be_started_again(admin_client, loaded):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"
    column = DiscardColumn(loaded.destination_id, "shop", "paid", "n")
    with time_machine.travel(timezone.now() - timedelta(minutes=6)):
        column.save_progress(Progress(seen=1, total=2))

    silent = html(admin_client.get(path))
    admin_client.post(path)

    assert "No progress for several minutes" in silent
    assert "Widen and re-apply</button>" in silent
    assert column.progress() == Progress()


def test_an_error_of_a_widening_is_shown_as_its_outcome(admin_client, loaded, warehouse):
    warehouse.execute(
        "DROP TABLE shop.rudder_discards; CREATE VIEW shop.rudder_discards AS TABLE shop.paid"
    )

    reapply_column_discards(loaded.destination_id, "shop", "paid", "n", User.objects.get().pk)

    outcome = DiscardColumn(loaded.destination_id, "shop", "paid", "n").progress().outcome
    assert outcome.startswith("not re-applied: ")
    assert outcome in LogEntry.objects.get().get_change_message()


def test_the_outcome_of_widening_a_column_is_shown_with_its_values(admin_client, loaded, warehouse):
    actor = User.objects.get().pk
    column = DiscardColumn(loaded.destination_id, "shop", "paid", "n")
    warehouse.execute("CREATE VIEW shop.mine AS SELECT n FROM shop.paid")
    reapply_column_discards(loaded.destination_id, "shop", "paid", "n", actor)
    blocked = column.progress().outcome
    warehouse.execute("DROP VIEW shop.mine; ALTER TABLE shop.paid ALTER COLUMN n TYPE text")
    reapply_column_discards(loaded.destination_id, "shop", "paid", "n", actor)

    assert blocked.startswith("a view of yours uses n of shop.paid; 0 re-applied")
    assert column.progress().outcome == "1 re-applied, 0 still do not fit"


def test_the_preview_shows_how_many_values_fit(admin_client, loaded, warehouse):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"
    warehouse.execute(
        "UPDATE shop.rudder_discards SET column_value = '1.5',"
        " reason = 'incompatible schema conversion from int to float'"
    )
    whole = html(admin_client.get(path))
    warehouse.execute("ALTER TABLE shop.paid ALTER COLUMN n TYPE text")
    of_text = html(admin_client.get(path))
    warehouse.execute("ALTER TABLE shop.paid DROP COLUMN n")
    gone = html(admin_client.get(path))

    assert "<strong>1 fits</strong>" in whole
    assert "<code>text</code> and does not change" in of_text
    assert "Re-apply</button>" in of_text
    assert "The column shop.paid.n no longer exists" in gone


def test_widening_is_begun_by_a_worker(admin_client, loaded):
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"

    answer = admin_client.post(path)

    assert answer["Location"] == path
    assert DiscardColumn(loaded.destination_id, "shop", "paid", "n").progress() == Progress()


def test_widening_without_a_cache_begins_nothing(admin_client, loaded, settings):
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    }
    path = f"/admin/discards/{loaded.destination_id}/shop/widen/?table=paid&column=n"

    answer = html(admin_client.post(path, follow=True))

    assert "the cache or the broker does not answer." in answer
    assert "Widen and re-apply</button>" in answer


def test_the_export_holds_what_the_list_shows_and_no_formulas(admin_client, loaded, warehouse):
    warehouse.execute("""
        INSERT INTO shop.rudder_discards (table_name, column_name, column_value, reason, row_id)
        VALUES ('other', 'a', '=1+1', '', '1'), ('other', 'b', '-5', '', '2'),
            ('other', 'ü', '@x', '', '3')
    """)
    address = f"/admin/discards/{loaded.destination_id}/shop/export/?table=other"

    exported = lines(admin_client.get(address))
    narrowed = lines(admin_client.get(address + "&q=Ü"))

    assert sorted(exported[1:]) == ["other,a,'=1+1,,1,", "other,b,-5,,2,", "other,ü,'@x,,3,"]
    assert narrowed[1:] == ["other,ü,'@x,,3,"]
    assert LogEntry.objects.filter(
        change_message="Exported 1 discards of shop, table other, with 'Ü'."
    ).exists()


def test_the_rows_of_an_event_are_found(admin_client, loaded):
    m2 = Event.objects.get(message_id="m2")

    page = html(admin_client.get(f"/admin/events/event/{m2.pk}/in/{loaded.pk}/"))

    assert "shop.tracks" in page
    assert "shop.paid" in page
    assert "paid.n" in page


def test_one_row_of_a_table_is_shown(admin_client, loaded):
    page = html(admin_client.get(f"/admin/tables/{loaded.destination_id}/shop/paid/?id=m1"))

    assert "<td>m1</td>" in page
    assert "<td>m2</td>" not in page


def test_the_system_page_hides_secrets(admin_client, settings):
    page = html(admin_client.get("/admin/system/"))

    assert "RUDDERHUB_SECRET_KEY" in page
    assert "Postgres: works" in page
    writer.close_writer()
