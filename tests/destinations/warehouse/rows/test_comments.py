from __future__ import annotations

from datetime import date

import pytest

from destinations.warehouse.rows.comments import column_comments, table_comment
from destinations.warehouse.rows.reserved_names import SYSTEM_TABLES
from destinations.warehouse.rows.schema import DISCARD_COLUMNS, DISCARDS

MET = date(2026, 3, 1)


@pytest.mark.parametrize(
    ("table", "column", "words"),
    [
        ("tracks", "id", "The message id. An event that is sent twice has one row."),
        ("users", "id", "The id of the user."),
        ("order_done", "total", "A property, first seen on 2026-03-01."),
        ("order_done", "name", "A property, first seen on 2026-03-01."),
        ("pages", "name", "The name of the page or screen."),
        ("users", "plan", "A trait, first seen on 2026-03-01."),
        ("tracks", "context_campaign_name", "A context field, first seen on 2026-03-01."),
        ("rudder_discards", "row_id", "The id of the row."),
    ],
)
def test_a_column_is_explained(table, column, words):
    assert column_comments(table, [column], MET) == {column: words}


def test_every_table_is_explained():
    own = {table: table_comment(table) for table in SYSTEM_TABLES | {DISCARDS}}

    assert len(set(own.values())) == len(own)
    assert table_comment("order_done") not in own.values()


def test_every_column_of_the_discards_is_explained():
    assert all(column_comments(DISCARDS, DISCARD_COLUMNS, MET).values())
