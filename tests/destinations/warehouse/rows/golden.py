"""Reading and comparing the golden cases; see tests/cases/README.md."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

CASES = Path(__file__).parents[3] / "cases"

_OUR_TABLES = "decision 8: an event cannot take the name of one of our tables"
_DISCARD_TEXT = "decision 6: floats are plain decimals, in discards too"
_PLAIN = "decision 6: floats in text columns are plain decimals"
_NOT_CUT = "decision 6: a float is not cut to fit an int column"

DEVIATIONS = {
    "track_prop_uuid_ts": "decision 8: uuid_ts is ours, a property cannot set it",
    "tblres_rudder_discards": _OUR_TABLES,
    "tblres_rudder_identity_merge_rules": _OUR_TABLES,
    "tblres_skipesc_tracks": _OUR_TABLES,
    "tblres_skipesc_groups": _OUR_TABLES,
}
"""Cases of golden_warehouse that differ on purpose, and why."""

SCHEMA_DEVIATIONS = {
    ("int", "float", "1.501"): _NOT_CUT,
    ("int", "float", "0.5"): _NOT_CUT,
    ("int", "float", "1e-07"): _NOT_CUT,
    ("int", "float", "123456789.12345679"): _NOT_CUT,
    ("int", "float", "2.0000001"): _NOT_CUT,
    ("int", "int", "1e+20"): "decision 6: an integer does not overflow, it is discarded",
    ("string", "float", "1234567.5"): _PLAIN,
    ("string", "float", "12345678.25"): _PLAIN,
    ("string", "float", "1e-07"): _PLAIN,
    ("string", "float", "123456789.12345679"): _PLAIN,
    ("text", "float", "12345678.25"): _PLAIN,
    ("boolean", "float", "1234567.5"): _DISCARD_TEXT,
    ("boolean", "float", "123456789.12345679"): _DISCARD_TEXT,
    ("datetime", "float", "1234567.5"): _DISCARD_TEXT,
    ("datetime", "float", "12345678.25"): _DISCARD_TEXT,
    ("datetime", "float", "1e-07"): _DISCARD_TEXT,
}
"""Cases of golden_schema_change that differ on purpose: column type, event type, value; and why."""


def lines(name: str) -> list[dict[str, Any]]:
    """The cases of a file."""
    return [json.loads(line) for line in (CASES / name).read_text().splitlines()]


def is_equal(answer: dict[str, Any], case: dict[str, Any]) -> bool:
    """Whether an answer, its rows under `expected` or its `error`, is one of the two right ones."""
    if "error" in answer:
        return "error" in case or "error_go" in case
    rows = _normal(answer["expected"])
    wanted = (case.get("expected"), case.get("expected_go"))
    return any(rows == _normal(right) for right in wanted if right is not None)


def _normal(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**row, "data": {name: _value(row, name) for name in row["data"]}}
        for row in json.loads(json.dumps(rows))
    ]


def _value(row: dict[str, Any], name: str) -> Any:
    value, column_type = row["data"][name], row["columns"][name]
    if isinstance(value, str):
        if column_type == "json":
            return json.loads(value)
        if name == "id" and value.startswith("auto-"):
            return "auto-<UUID>"
        if name == "received_at" and _is_now(value):
            return "<NOW>"
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    return value


def _is_now(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return abs(datetime.now(UTC) - moment) < timedelta(hours=1)
