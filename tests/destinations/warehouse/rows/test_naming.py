from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.warehouse.rows.naming import (
    Casing,
    NameCache,
    column_name,
    event_name,
    namespace_name,
    table_name,
)
from destinations.warehouse.rows.reserved_names import RESERVED_COLUMNS, is_reserved_table

DIVIDE = Casing(divide_numbers=True)
BLENDO = Casing(blendo=True)
KEEP_WORDS = Casing(keep_words=True)

casings = st.builds(Casing, st.booleans(), st.booleans(), st.booleans())
words = st.sampled_from(["order", "users", "tracks", "1st", "11TH", "iOS", "rudder_", "_resolved"])
keys = st.one_of(
    st.text(),
    st.text("aZ09_ -.$\\", max_size=90),
    st.lists(words, max_size=12).map("".join),
)


@pytest.mark.parametrize(
    ("key", "default", "divided"),
    [
        ("HTTPServer", "http_server", "http_server"),
        ("userIDs", "user_i_ds", "user_i_ds"),
        ("OAuth2Token", "o_auth2_token", "o_auth_2_token"),
        ("SHA256", "sha256", "sha_256"),
        ("iPhone14ProMax", "i_phone14_pro_max", "i_phone_14_pro_max"),
        ("x2y3z", "x2_y3_z", "x_2_y_3_z"),
        ("v1.2.3", "v1_2_3", "v_1_2_3"),
        ("e2e", "e2_e", "e_2_e"),
        ("9mega", "_9mega", "_9_mega"),
        ("100mAh", "_100m_ah", "_100_m_ah"),
        ("1st", "_1st", "_1st"),
        ("11th", "_11th", "_11_th"),
        ("21ST", "_21st", "_21st"),
        ("1thing", "_1thing", "_1_thing"),
        ("iD", "i_d", "i_d"),
        ("TimeStamp", "time_stamp", "time_stamp"),
        ("naïve", "na_ve", "na_ve"),
        ("Cízǔ", "c_z", "c_z"),
        ("中文", "", ""),
        ("ключ1", "_1", "_1"),
        ("__dunder__", "__dunder", "__dunder"),
        ("_ñ", "_", "_"),
        ("___", "___", "___"),
        ("order", "_order", "_order"),
        ("\u212aelvin İ", "elvin", "elvin"),
        ("a\n", "a", "a"),
    ],
)
def test_a_key_gives_a_column(key, default, divided):
    assert column_name(key) == default
    assert column_name(key, DIVIDE) == divided


@pytest.mark.parametrize(
    ("key", "column"),
    [
        ("userId", "userid"),
        ("$price", "_$price"),
        ("a\\b", "a\\b"),
        ("path to $1,00,000", "path_to_$1_00_000"),
        ("😀", "_"),
        ("", "_"),
        ("9x", "_9x"),
        ("ORDER", "_order"),
        ("x" * 70, "x" * 63),
    ],
)
def test_blendo_casing_replaces_one_for_one(key, column):
    assert column_name(key, BLENDO) == column


def test_the_event_column_is_neither_cut_nor_escaped():
    assert event_name("Order") == "order"
    assert event_name("a" * 70) == "a" * 70
    assert event_name("  Order Completed ", BLENDO) == "order completed"


@pytest.mark.parametrize(
    ("event", "table"),
    [
        ("Order Completed", "order_completed"),
        ("Order", "_order"),
        ("Users", "_users"),
        ("accounts", "_accounts"),
        ("rudder_discards", "_rudder_discards"),
        ("Rudder Hub", "_rudder_hub"),
        ("tracks resolved", "_tracks_resolved"),
        ("rudder " + "x" * 80, "_rudder_" + "x" * 55),
    ],
)
def test_an_event_gives_a_table(event, table):
    assert table_name(event) == table


@pytest.mark.parametrize(
    ("event", "table"),
    [("order", "order"), ("accounts", "accounts"), ("tracks", "_tracks"), ("users", "_users")],
)
def test_without_escaping_only_our_own_tables_are_kept_from_events(event, table):
    assert table_name(event, KEEP_WORDS) == table


def test_a_namespace_splits_off_every_number():
    assert namespace_name("k3_shop") == "k_3_shop"
    assert namespace_name("Shop2024") == "shop_2024"
    assert namespace_name("3 Shops") == "_3_shops"


@given(keys, casings)
def test_a_column_fits_the_limit_and_the_alphabet(key, casing):
    assert re.fullmatch(r"(?:[a-z_][a-z0-9_$\\]{0,62})?", column_name(key, casing))


@given(
    st.text("aZ0_é", max_size=400),
    st.lists(st.sampled_from(["a" * 90, "Z" * 90, "1" * 90, "_" * 90, "é" * 90]), max_size=8),
    st.booleans(),
)
def test_reading_only_the_head_of_a_long_key_changes_no_name(text, long, divide):
    key = "".join([*long, text])
    casing = Casing(divide_numbers=divide, keep_words=True)

    assert column_name(key, casing) == event_name(key, casing)[:63]


@given(keys, casings)
def test_a_table_fits_the_limit_and_is_never_ours(key, casing):
    table = table_name(key, casing)

    assert re.fullmatch(r"(?:[a-z_][a-z0-9_$\\]{0,62})?", table)
    assert not is_reserved_table(table) or table.startswith("_")


@given(keys)
def test_a_namespace_is_a_safe_name(name):
    assert re.fullmatch(r"[a-z_][a-z0-9_]{0,126}", namespace_name(name))


@given(st.lists(keys, max_size=30), casings, st.sampled_from(sorted(RESERVED_COLUMNS)))
def test_the_cache_of_names_changes_no_name(paths, casing, event_type):
    small = NameCache(max_kept=3, max_path=20)

    found = [small.scope(casing, event_type, "").child("a")[path] for path in paths * 2]

    names = [column_name(f"a_{path}", casing) for path in paths * 2]
    assert found == ["" if name in RESERVED_COLUMNS[event_type] else name for name in names]


def test_endless_keys_are_not_all_kept():
    cache = NameCache(max_kept=100)
    scope = cache.scope(Casing(), "track", "")

    columns = [cache.scope(Casing(), "track", "")[f"key{number}"] for number in range(1000)]

    assert columns[999] == "key999"
    assert len(scope) <= 101
    assert len(cache.scope(Casing(), "track", "")) <= 101
