from __future__ import annotations

import re

import pytest

from events.loads import replays
from events.loads.advice import advice
from events.loads.run import run_load
from events.models import Load
from events.tasks import load_replay
from tests.support.connections import send
from tests.support.events import event, track
from tests.support.factories import make_connection

pytestmark = pytest.mark.django_db(transaction=True)


def loaded(connection, *events):
    if events:
        send(connection, *events)
    run_load(connection)
    return Load.objects.latest("id")


def paid(message_id, **properties):
    return track(message_id, event="Paid", properties=properties)


def page(client, load):
    response = client.get(f"/admin/events/load/{load.pk}/change/")
    assert response.status_code == 200
    return response.content.decode()


def test_a_load_shows_the_tables_and_columns_that_it_created(admin_client, connection):
    first = loaded(connection, paid("m1", n=1))
    second = loaded(connection, paid("m2", n=2, colour="red"))
    third = loaded(connection, paid("m3", n=3))

    assert first.added["paid"] == first.added["tracks"] == []
    assert (second.added, third.added) == ({"paid": ["colour"]}, {})
    assert "<td>the table</td>" in page(admin_client, first)
    assert "<td>columns colour</td>" in page(admin_client, second)


def test_a_load_counts_what_came_more_than_once(admin_client, connection):
    first = loaded(connection, paid("m1"), paid("m1"))
    second = loaded(connection, paid("m1"), paid("m2"))

    assert (first.rows["paid"], first.repeated["paid"]) == (1, 1)
    assert (second.rows["paid"], second.repeated["paid"]) == (1, 1)
    assert first.events == second.events == 2


def test_the_list_of_loads_shows_new_tables_and_errors(admin_client, connection):
    loaded(connection, paid("m1", n=1), paid("m1", n=1))
    loaded(connection, paid("m2", n=2, colour="red"))
    Load.objects.create(
        connection=connection, state="failed", after_id=0, upto_id=0, error="permission denied"
    )

    text = admin_client.get("/admin/events/load/").content.decode()

    assert re.search(r"\d tables", text)
    assert "1 column" in text
    assert "2 repeated rows" in text
    assert "missing permission" in text


def test_a_load_counts_discards_by_table(admin_client, connection):
    loaded(connection, paid("m1", n=1))
    load = loaded(connection, paid("m2", n="many"), track("m3", event="Seen"))

    assert load.discarded == {"paid": 1}
    assert load.discards == 1


def test_the_dead_letters_of_a_load_are_one_click_away(admin_client, connection):
    loaded(connection, event("m1", "nonsense", userId="u1"))
    load = loaded(connection, event("m2", "nonsense", userId="u1"), paid("m3"))

    text = page(admin_client, load)
    url = text.partition("/admin/events/deadletter/?")[2].partition('"')[0].replace("&amp;", "&")
    listed = admin_client.get(f"/admin/events/deadletter/?{url}").context["cl"].result_list

    assert [letter.message_id for letter in listed] == ["m2"]


def test_loads_are_filtered_and_found_by_their_error(admin_client):
    connection, other = make_connection(), make_connection()
    position = {"after_id": 0, "upto_id": 0}
    failed = Load.objects.create(
        connection=connection, state="failed", error="no route", **position
    )
    Load.objects.create(connection=other, state="succeeded", **position)

    def listed_loads(**query):
        return list(admin_client.get("/admin/events/load/", query).context["cl"].result_list)

    assert listed_loads(q="route") == listed_loads(state__exact="failed") == [failed]
    assert listed_loads(connection__id__exact=connection.pk) == [failed]


def test_a_failed_load_is_classed_and_can_be_retried(admin_client, connection):
    load = loaded(connection, paid("m1"))
    connection.destination.config["port"] = 1
    connection.destination.save()
    failed = Load.objects.create(
        connection=connection,
        state="waiting",
        after_id=load.upto_id,
        upto_id=load.upto_id,
        error='connection to server at "127.0.0.1", port 1 failed: Connection refused',
    )

    text = page(admin_client, failed)

    assert "out of reach" in text
    assert "No server listens there" in text
    assert f'action="/admin/destinations/connection/{connection.pk}/load/"' in text
    assert "Retry now" in text


def test_a_retry_requires_the_permission_to_change_connections(staff_client, connection):
    load = loaded(connection, paid("m1"))
    client = staff_client("view_load")

    assert "Load now" not in page(client, load)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("FATAL: password authentication failed for user x", "log-in refused"),
        ("permission denied for schema shop", "missing permission"),
        ("canceling statement due to lock timeout", "overload"),
        ("connection timeout expired", "out of reach"),
        ('schema "shop" does not exist', "something is missing"),
        ("a table broke", "other"),
    ],
)
def test_errors_have_a_class(error, kind):
    assert advice(error).kind == kind


def test_a_replay_shows_the_warnings_and_skips_of_its_events(admin_client, connection):
    loaded(connection, paid("m1"), track("m2", event="B", integrations={"All": False}))
    replay = replays.begin_replay(connection, None)
    load_replay(replay.pk)

    text = admin_client.get(f"/admin/events/replay/{replay.pk}/change/").content.decode()

    assert "its integrations turn POSTGRES off: 1" in text


def test_attempts_without_a_destination_share_a_load_that_waits(admin_client, connection):
    destination, port = connection.destination, connection.destination.config["port"]
    destination.config["port"] = 1
    first = loaded(connection, paid("m1"))
    second = loaded(connection)
    waiting = page(admin_client, second)
    connection.enabled = False
    connection.save()
    paused = page(admin_client, second)
    destination.config["port"] = port
    third = loaded(connection)
    first.refresh_from_db()

    assert first.pk == second.pk
    assert second.finished_at > first.started_at
    assert (second.state, second.events) == ("waiting", 0)
    assert "retrying for 0 s" in waiting or "retrying for 1 s" in waiting
    assert re.search(r"The next load starts automatically in \d+ s\. Nothing is lost\.", waiting)
    assert "the connection is paused or its destination is disabled" in paused
    assert (first.state, third.state, third.events) == ("failed", "succeeded", 1)
    assert "A later load continued at the same event." in page(admin_client, first)


def test_a_wait_ends_with_the_next_try_though_nothing_is_left_to_load(connection):
    port = connection.destination.config["port"]
    done = loaded(connection, paid("m1"))
    connection.destination.config["port"] = 1
    waited = loaded(connection)
    connection.destination.config["port"] = port
    loaded(connection)

    assert [(load.pk, load.state) for load in Load.objects.order_by("id")] == [
        (done.pk, "succeeded"),
        (waited.pk, "failed"),
    ]


def test_the_tables_of_a_load_lead_to_their_rows_and_discards(admin_client, connection):
    loaded(connection, paid("m1", n=1))
    text = page(admin_client, loaded(connection, paid("m2", n="many")))
    destination = connection.destination_id

    assert f'href="/admin/tables/{destination}/shop/paid/"' in text
    assert f'href="/admin/discards/?destination={destination}&amp;table=paid"' in text
