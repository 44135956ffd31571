from __future__ import annotations

import pytest

from destinations.interface import Chunk, DestinationUnavailableError
from tests.support.chunks import chunk, load
from tests.support.events import track
from tests.support.warehouse import rows


def test_a_new_warehouse_has_no_cursor(open_session):
    assert open_session().position() is None


def test_rows_and_cursor_are_there_together(open_session, warehouse):
    session = open_session()

    result = session.load(session.prepare(chunk(0, track("m1"), track("m2"))))

    assert result.rows == {"clicked": 2, "tracks": 2}
    assert session.position() == 2
    assert rows(warehouse, "SELECT id FROM shop.clicked ORDER BY id") == [("m1",), ("m2",)]


def test_a_chunk_that_another_load_has_written_is_refused(open_session, warehouse):
    first, second = open_session(), open_session()
    prepared = first.prepare(chunk(0, track("m1")))
    first.load(prepared)

    with pytest.raises(DestinationUnavailableError, match="cursor"):
        second.load(second.prepare(chunk(0, track("m2"))))

    assert rows(warehouse, "SELECT id FROM shop.tracks") == [("m1",)]


def test_a_chunk_without_rows_moves_the_cursor(open_session):
    session = open_session()

    session.load(session.prepare(Chunk(0, 50, [])))

    assert session.position() == 50


def test_two_connections_share_a_namespace(open_session, warehouse):
    one, two = open_session(1), open_session(2)
    one.load(one.prepare(chunk(0, track("m1", properties={"a": 1}))))

    two.load(two.prepare(chunk(0, track("m2", properties={"b": "x"}))))

    assert rows(warehouse, "SELECT id, a, b FROM shop.clicked ORDER BY id") == [
        ("m1", 1, None),
        ("m2", None, "x"),
    ]


def test_a_column_dropped_meanwhile_is_added_again(open_session, warehouse):
    session = open_session()
    session.load(session.prepare(chunk(0, track("m1", properties={"a": 1}))))
    warehouse.execute("ALTER TABLE shop.clicked DROP COLUMN a CASCADE")

    session.load(session.prepare(chunk(1, track("m2", properties={"a": 2}))))

    assert rows(warehouse, "SELECT id, a FROM shop.clicked ORDER BY id") == [
        ("m1", None),
        ("m2", 2),
    ]


def test_a_column_retyped_meanwhile_takes_what_fits(open_session, warehouse):
    session = open_session()
    session.load(session.prepare(chunk(0, track("m1", properties={"a": 1}))))
    warehouse.execute("DROP VIEW IF EXISTS shop.clicked_resolved")
    warehouse.execute("ALTER TABLE shop.clicked ALTER COLUMN a TYPE text")

    session.load(session.prepare(chunk(1, track("m2", properties={"a": 2}))))

    assert rows(warehouse, "SELECT id, a FROM shop.clicked ORDER BY id") == [
        ("m1", "1"),
        ("m2", "2"),
    ]


def test_a_large_table_is_not_widened_and_the_value_is_a_discard(open_session, warehouse):
    session = open_session(widen_rows=1)
    whole = [track(f"m{number}", properties={"a": 1}) for number in range(3)]
    session.load(session.prepare(chunk(0, *whole)))

    result = session.load(session.prepare(chunk(3, track("m9", properties={"a": 1.5}))))

    assert result.discards == 1
    assert rows(warehouse, "SELECT a FROM shop.clicked WHERE id = 'm9'") == [(None,)]
    assert rows(warehouse, "SELECT column_value FROM shop.rudder_discards") == [("1.5",)]


def test_event_tables_have_the_key_and_indexes_of_the_specification(open_session, warehouse):
    session = open_session()

    session.load(session.prepare(chunk(0, track("m1"))))

    assert rows(
        warehouse,
        """
        SELECT regexp_replace(indexdef, '.* USING ', '')
        FROM pg_indexes WHERE schemaname = 'shop' AND tablename = 'tracks' ORDER BY 1
        """,
    ) == [("brin (received_at)",), ("btree (id)",), ("btree (rudder_profile_id)",)]


def test_both_ids_are_columns_before_the_first_log_in(open_session, warehouse):
    session = open_session()
    anonymous = {"userId": None, "anonymousId": "a1"}

    session.load(session.prepare(chunk(0, track("m1", **anonymous))))

    assert rows(warehouse, "SELECT anonymous_id, user_id FROM shop.tracks") == [("a1", None)]


def test_the_resolved_views_follow_their_tables(open_session, warehouse):
    session = open_session()
    one = {"context": {"app": {"build": 1}}}
    session.load(session.prepare(chunk(0, track("m1", **one))))
    half = {"context": {"app": {"build": 1.5, "name": "x"}}}

    session.load(session.prepare(chunk(1, track("m2", **half))))

    assert rows(
        warehouse,
        """
        SELECT t.id, t.context_app_build::text, t.context_app_name
        FROM shop.tracks_resolved t JOIN rudder_identity.rudder_profiles p USING (rudder_id)
        ORDER BY t.id
        """,
    ) == [("m1", "1", None), ("m2", "1.5", "x")]


def test_without_identity_resolution_rows_carry_no_profile(open_session, warehouse):
    session = open_session(resolve_identities=False)

    session.load(session.prepare(chunk(0, track("m1"))))

    assert rows(warehouse, "SELECT rudder_profile_id FROM shop.tracks") == [(None,)]
    assert rows(warehouse, "SELECT count(*) FROM rudder_identity.rudder_profiles") == [(0,)]


def test_an_event_that_is_switched_off_leaves_no_row_and_no_identity(open_session, warehouse):
    session = open_session()
    off = track("m1", event="Viewed", integrations={"All": False})
    prepared = session.prepare(chunk(0, off, track("m2", userId="u2")))

    session.load(prepared)

    assert prepared.skipped == {"its integrations turn POSTGRES off": 1}
    assert rows(warehouse, "SELECT id FROM shop.tracks") == [("m2",)]
    assert rows(warehouse, "SELECT user_id FROM rudder_identity.rudder_profiles") == [("u2",)]


@pytest.mark.parametrize("number", [2**64 + 1, -(2**63) - 1, 10**40 + 1])
def test_integers_of_any_length_are_kept_exactly(open_session, warehouse, number):
    session = open_session()

    load(session, track("m1", properties={"n": 1}))
    load(session, track("m2", properties={"n": number}))

    assert rows(warehouse, "SELECT n::text FROM shop.clicked ORDER BY id") == [
        ("1",),
        (str(number),),
    ]


def test_what_postgres_cannot_hold_in_a_text_is_removed(open_session, warehouse):
    session = open_session()

    load(session, track("m1", properties={"a": "x\0y", "b\0": ["\0", "\ud800"]}))

    assert rows(warehouse, "SELECT a, b FROM shop.clicked") == [("xy", '["","\ufffd"]')]


def test_a_server_that_does_not_answer_is_unavailable(open_session):
    with pytest.raises(DestinationUnavailableError, match="refused"):
        open_session(port=1)


def test_a_session_cut_in_a_load_leaves_nothing_behind(open_session, warehouse):
    session = open_session()
    session.load(session.prepare(chunk(0, track("m1"))))
    prepared = session.prepare(chunk(1, track("m2")))
    warehouse.execute(
        """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'rudderhub'
            AND pid <> pg_backend_pid()
        """
    )

    with pytest.raises(DestinationUnavailableError):
        session.load(prepared)

    fresh = open_session()
    assert fresh.position() == 1
    fresh.load(fresh.prepare(chunk(1, track("m2"))))
    assert rows(warehouse, "SELECT id FROM shop.tracks ORDER BY id") == [("m1",), ("m2",)]
