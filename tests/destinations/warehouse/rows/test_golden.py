from __future__ import annotations

from datetime import UTC, datetime

import pytest

from destinations.warehouse.rows.datatypes import Discard, convert, typed_value
from destinations.warehouse.rows.naming import namespace_name
from destinations.warehouse.rows.transform import Metadata, Options, TransformError, transform
from tests.destinations.warehouse.rows.golden import DEVIATIONS, SCHEMA_DEVIATIONS, is_equal, lines

WAREHOUSE = lines("golden_warehouse.jsonl")
SCHEMA_CHANGE = lines("golden_schema_change.jsonl")


def key(case):
    return case["column_type"], case["event_type"], f"{case['value']!r}"


def transformed(case):
    known = case["metadata"]
    metadata = Metadata(
        known.get("sourceId", ""),
        known.get("sourceType", ""),
        known.get("sourceCategory"),
        known.get("destinationId", ""),
        known["destinationType"],
        known.get("receivedAt") or datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    options = Options.from_config(case["destination_options"])
    try:
        rows = transform(case["event"], metadata, options, new_id=lambda: "any")
    except TransformError as error:
        return {"error": str(error)}
    return {"expected": [{"table": r.table, "columns": r.types, "data": r.values} for r in rows]}


def converted(case):
    event_type, value = case["event_type"], case["value"]
    if event_type == "int":
        value = typed_value(value)[1]
    return convert(value, case["column_type"], event_type)


def is_stored_as_recorded(got, case):
    """Compare a discard as a whole, a number by value and anything else as text."""
    if isinstance(got, Discard):
        return got == (case.get("discard_column_value"), case.get("reason"))
    if case["discarded"]:
        return False
    if isinstance(got, bool):
        return case["stored_text"] == str(got).lower()
    if isinstance(got, int | float) or (case["column_type"] == "json" and got[0] not in '"[{'):
        return float(got) == float(case["stored_text"])
    return got == case["stored_text"]


@pytest.mark.parametrize(
    "case", [case for case in WAREHOUSE if case["name"] not in DEVIATIONS], ids=lambda c: c["name"]
)
def test_an_event_gives_the_rows_that_upstream_gives(case):
    assert is_equal(transformed(case), case)


@pytest.mark.parametrize(
    "case", [case for case in WAREHOUSE if case["name"] in DEVIATIONS], ids=lambda c: c["name"]
)
def test_a_deviation_is_still_one_and_still_gives_rows(case):
    rows = transformed(case)

    assert not is_equal(rows, case)
    assert len(rows["expected"]) == 2


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("tblres_rudder_discards", "_rudder_discards"),
        ("tblres_rudder_identity_merge_rules", "_rudder_identity_merge_rules"),
        ("tblres_skipesc_tracks", "_tracks"),
        ("tblres_skipesc_groups", "_groups"),
        ("track_prop_uuid_ts", "item_viewed"),
    ],
)
def test_a_deviation_gives_a_table_of_another_name_or_leaves_the_column_to_us(name, table):
    case = next(case for case in WAREHOUSE if case["name"] == name)

    row = transformed(case)["expected"][1]

    assert row["table"] == table
    assert row["columns"]["uuid_ts"] == "datetime"
    assert "uuid_ts" not in row["data"]


@pytest.mark.parametrize(
    "case", [c for c in SCHEMA_CHANGE if key(c) not in SCHEMA_DEVIATIONS], ids=key
)
def test_a_value_of_another_type_is_stored_or_discarded_as_upstream_does(case):
    assert is_stored_as_recorded(converted(case), case)


@pytest.mark.parametrize("case", [c for c in SCHEMA_CHANGE if key(c) in SCHEMA_DEVIATIONS], ids=key)
def test_a_deviation_of_a_stored_value_is_still_one(case):
    assert not is_stored_as_recorded(converted(case), case)


@pytest.mark.parametrize(
    "case", lines("golden_namespace.jsonl"), ids=lambda case: repr(case["source_name"])[:40]
)
def test_a_source_name_gives_the_schema_that_upstream_gives(case):
    assert namespace_name(case["source_name"]) == case["namespace"]
