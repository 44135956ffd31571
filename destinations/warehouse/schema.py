"""What a warehouse must look like for rows to fit, and rows made to fit it.

Columns are given as {column: type} with the types of datatypes.py. A column keeps the type that it
has; the only change ever made is int to float (bigint to numeric), which loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from destinations.warehouse.datatypes import Discard, convert
from destinations.warehouse.jsontext import json_text
from destinations.warehouse.transform import Row

Columns = Mapping[str, str]
Tables = Mapping[str, Columns]

BIGINT = range(-(2**63), 2**63)
ID_COLUMNS = frozenset({"id", "user_id", "anonymous_id", "previous_id", "group_id"})
"""Always text, whatever the first value looks like: a first userId 77 must not refuse "u-1"."""

DISCARDS = "rudder_discards"
DISCARD_COLUMNS: Columns = {
    "table_name": "string",
    "column_name": "string",
    "column_value": "string",
    "reason": "string",
    "row_id": "string",
    "received_at": "datetime",
    "uuid_ts": "datetime",
}


@dataclass(frozen=True)
class Plan:
    """Changes of the warehouse that rows need."""

    create: dict[str, dict[str, str]] = field(default_factory=dict)
    add: dict[str, dict[str, str]] = field(default_factory=dict)
    widen: dict[str, list[str]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.create or self.add or self.widen)


def storable(row: Row) -> Row:
    """The row with values that a COPY takes: arrays as JSON text; integers past bigint as float."""
    types, values = row.types, row.values
    for column, value in row.values.items():
        kind = value.__class__
        if kind is str:
            continue
        if kind is list or kind is dict:
            values = {**values, column: json_text(value)}
        elif kind is int and value not in BIGINT and types[column] == "int":
            types = {**types, column: "float"}
    return Row(row.table, types, values)


def wanted_columns(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """The columns of each table that the rows need: first type seen, int and float give float."""
    wanted: dict[str, dict[str, str]] = {}
    for row in rows:
        columns = wanted.setdefault(row.table, {})
        for column, kind in row.types.items() - columns.items():
            known = columns.setdefault(column, "string" if column in ID_COLUMNS else kind)
            if known == "int" and kind == "float":
                columns[column] = "float"
    return wanted


def plan(wanted: Tables, known: Tables) -> Plan:
    """The changes that bring the known tables to the wanted ones."""
    result = Plan()
    for table, columns in wanted.items():
        if table not in known:
            result.create[table] = dict(columns)
            continue
        has = known[table]
        if columns.items() <= has.items():
            continue
        if new := {name: kind for name, kind in columns.items() if name not in has}:
            result.add[table] = new
        if wide := [n for n, kind in columns.items() if kind == "float" and has.get(n) == "int"]:
            result.widen[table] = wide
    return result


def fitted(row: Row, columns: Columns) -> tuple[Mapping[str, Any], Sequence[Row]]:
    """The row's values as the columns take them, and a discard row for each that they do not."""
    misfits = row.types.items() - columns.items()
    if not misfits:
        return row.values, ()
    values = dict(row.values)
    discards = []
    for name, kind in misfits:
        if name not in values:
            continue
        converted = convert(values[name], columns[name], kind)
        if isinstance(converted, Discard):
            discards.append(_discard(row, name, converted))
            del values[name]
        else:
            values[name] = converted
    return values, discards


def _discard(row: Row, column: str, discard: Discard) -> Row:
    values = {
        "table_name": row.table,
        "column_name": column,
        "column_value": discard.value,
        "reason": discard.reason,
        "row_id": str(row.values.get("id", "")),
        "received_at": row.values["received_at"],
    }
    return Row(DISCARDS, dict(DISCARD_COLUMNS), values)
