from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from events.loads.run import run_load
from tests.support.connections import send
from tests.support.events import track
from tests.support.warehouse import rows

pytestmark = pytest.mark.django_db(transaction=True)

TEN = datetime(2026, 3, 1, 10, tzinfo=UTC)


def at(minutes, message_id, **fields):
    return track(message_id, TEN + timedelta(minutes=minutes), event="A", **fields)


def create_views(connection, *arguments):
    out = StringIO()
    call_command("create_views", connection.destination.public_id, *arguments, stdout=out)
    return out.getvalue().splitlines()


def test_sessions_end_after_more_than_thirty_minutes(connection, warehouse):
    send(
        connection,
        at(0, "m1"),
        at(10, "m2", type="page"),
        at(40, "m3", type="screen"),
        at(70.5, "m4"),
        at(70.5, "m5"),
        at(5, "other", userId="u2"),
    )
    run_load(connection)

    made = create_views(connection)

    assert made == ["created shop.rudder_sessions", "created shop.rudder_daily_active_users"]
    assert rows(
        warehouse,
        """
        SELECT p.user_id, session_number, started_at, ended_at, duration_seconds::float,
            events, tracks, pages, screens
        FROM shop.rudder_sessions JOIN rudder_identity.rudder_profiles p USING (rudder_id)
        ORDER BY 1, 2
        """,
    ) == [
        ("u1", 1, TEN, TEN + timedelta(minutes=40), 2400.0, 3, 1, 1, 1),
        ("u1", 2, TEN + timedelta(minutes=70.5), TEN + timedelta(minutes=70.5), 0.0, 2, 2, 0, 0),
        ("u2", 1, TEN + timedelta(minutes=5), TEN + timedelta(minutes=5), 0.0, 1, 1, 0, 0),
    ]


def test_a_person_on_two_devices_has_one_session_once_they_are_known(connection, warehouse):
    send(
        connection,
        at(0, "m1", userId="", anonymousId="phone"),
        at(20, "m2", userId="", anonymousId="laptop"),
    )
    run_load(connection)
    create_views(connection)
    apart = rows(warehouse, "SELECT events FROM shop.rudder_sessions")
    send(
        connection,
        at(21, "m3", type="identify", anonymousId="phone"),
        at(22, "m4", type="identify", anonymousId="laptop"),
    )
    run_load(connection)

    together = rows(warehouse, "SELECT events FROM shop.rudder_sessions")

    assert (apart, together) == ([(1,), (1,)], [(2,)])


def test_daily_active_users_are_counted_by_utc_day(connection, warehouse):
    day = 24 * 60
    send(
        connection,
        at(0, "m1"),
        at(60, "m2"),
        at(13 * 60 + 59, "m3", userId="u2"),
        at(14 * 60, "m4", userId="u2"),
        at(day, "m5", userId="u3", type="page"),
    )
    run_load(connection)

    create_views(connection)

    assert rows(warehouse, "SELECT * FROM shop.rudder_daily_active_users ORDER BY day") == [
        (date(2026, 3, 1), 2, 3),
        (date(2026, 3, 2), 2, 2),
    ]


def test_loads_can_still_change_the_tables_below_the_views(connection, warehouse):
    send(connection, at(0, "m1", context={"size": 1}), at(1, "p1", type="page"))
    run_load(connection)
    create_views(connection)
    send(connection, at(2, "m2", context={"size": 1.5, "more": "x"}))

    run_load(connection)

    columns = "SELECT context_size::text, context_more FROM shop.tracks ORDER BY id"
    assert rows(warehouse, columns) == [("1", None), ("1.5", "x")]
    assert rows(warehouse, "SELECT events FROM shop.rudder_sessions") == [(3,)]


def test_the_views_can_be_created_again_over_new_tables(connection, warehouse):
    send(connection, at(0, "m1"))
    run_load(connection)
    create_views(connection)
    send(connection, at(1, "p1", type="page"))
    run_load(connection)

    create_views(connection, "--namespace", "shop")

    assert rows(warehouse, "SELECT tracks, pages FROM shop.rudder_sessions") == [(1, 1)]


def test_a_view_that_cannot_be_created_is_reported(connection):
    with pytest.raises(CommandError, match="nothing has been loaded into"):
        create_views(connection)
    with pytest.raises(CommandError, match="nowhere has no table tracks, pages or screens yet"):
        create_views(connection, "--namespace", "nowhere")
    with pytest.raises(CommandError, match="0 destinations are called 'x', expected one of: "):
        call_command("create_views", "x")
