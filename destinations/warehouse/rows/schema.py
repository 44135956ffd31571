"""Plans the columns that rows need, and fits rows to the columns that exist.

Columns are {column: type} with the types of datatypes.py. A column keeps its type; the only change
is int to float (bigint to numeric), which loses nothing. A table grows to its budget of columns;
further properties go into the column rudder_extra.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from destinations.warehouse.json_text import json_text
from destinations.warehouse.rows.datatypes import BIGINT, Discard, convert
from destinations.warehouse.rows.narrow_types import convert_narrow, is_narrow, is_whole
from destinations.warehouse.rows.reserved_names import RESERVED_COLUMNS
from destinations.warehouse.rows.transform import Row

Columns = Mapping[str, str]

PROFILE_COLUMN = "rudder_profile_id"
EXTRA_COLUMN = "rudder_extra"
ID_COLUMNS = frozenset({"id", "user_id", "anonymous_id", "previous_id", "group_id"})
"""Always text: a first userId of 77 must not make the column refuse "u-1"."""

PROTECTED_COLUMNS = frozenset().union(*RESERVED_COLUMNS.values()) | {
    "event",
    "context_source_id",
    "context_source_type",
    "context_destination_id",
    "context_destination_type",
    "rudder_event",
}
"""Columns that a table gets even when its budget is used up."""

_LEADING = ("id", "received_at", "event", "event_text", "name", "user_id", "anonymous_id")
_PLACES = {name: place for place, name in enumerate((*_LEADING, PROFILE_COLUMN))}

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

_STORED_AS_THEY_ARE = {("float", "int"), ("string", "datetime")}


class JsonText(str):
    """An array or object as JSON text; a text that was sent as such is a plain str."""

    __slots__ = ()


@dataclass(frozen=True)
class TablePlan:
    """The changes that one table needs."""

    create: bool = False
    add: dict[str, str] = field(default_factory=dict)
    widen: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.create or self.add or self.widen)


def storable_row(row: Row) -> Row:
    """The row with arrays and objects as JSON text, and integers past bigint typed as float."""
    types, values = row.types, row.values
    kinds = set(map(type, values.values()))
    if list in kinds or dict in kinds:
        values = {
            name: JsonText(json_text(value)) if isinstance(value, list | dict) else value
            for name, value in values.items()
        }
    if int in kinds and not all(v in BIGINT for v in values.values() if v.__class__ is int):
        past = [n for n, v in values.items() if v.__class__ is int and v not in BIGINT]
        types = types | dict.fromkeys(past, "float")
    return Row(row.table, types, values)


def wanted_columns(shapes: Iterable[Columns]) -> dict[str, str]:
    """The columns for rows of these types. The first type wins; int and float give float."""
    wanted: dict[str, str] = {}
    for types in shapes:
        for column, kind in types.items() - wanted.items():
            known = wanted.setdefault(column, "string" if column in ID_COLUMNS else kind)
            if known == "int" and kind == "float":
                wanted[column] = "float"
    return wanted


def table_plan(wanted: Columns, known: Columns | None, budget: int) -> TablePlan:
    """The changes that make a table hold the wanted columns; known is None without a table."""
    has: Columns = known or {}
    if known is not None and wanted.items() <= has.items():
        return TablePlan()
    missing = {name: kind for name, kind in wanted.items() if name not in has}
    room = max(0, budget - len(PROTECTED_COLUMNS | has.keys()))
    free = sorted(name for name in missing if name not in PROTECTED_COLUMNS)
    spilled = frozenset(free[room:])
    add = {name: missing[name] for name in _column_order(missing) if name not in spilled}
    if spilled and EXTRA_COLUMN not in has:
        add[EXTRA_COLUMN] = "json"
    widen = [n for n, kind in wanted.items() if kind == "float" and is_whole(has.get(n, ""))]
    return TablePlan(known is None, add, widen)


def _column_order(names: Iterable[str]) -> list[str]:
    """The columns that people query first, then the others by name: the same for every load."""
    return sorted(names, key=lambda name: (_PLACES.get(name, len(_PLACES)), name))


class RowFitter:
    """Fits rows to the columns of their table."""

    # The cache is keyed by id because rows of one shape share their types. A key of the names and
    # types of 40 columns takes 10 microseconds to build, an id a third of one.

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._misfits: dict[int, tuple[Columns, list[tuple[str, str]]]] = {}

    def fit(self, row: Row) -> tuple[Mapping[str, Any], Sequence[Row]]:
        """The values that the columns take, and a discard row for each value that does not fit."""
        cached = self._misfits.get(id(row.types))
        if cached is None:
            cached = (row.types, self._misfits_of(row.types))
            self._misfits[id(row.types)] = cached  # keeps the types alive, so the id stays theirs
        return self._fitted_row(row, cached[1]) if cached[1] else (row.values, ())

    def _misfits_of(self, types: Columns) -> list[tuple[str, str]]:
        if types.items() <= self._columns.items():
            return []
        return [
            (name, kind)
            for name, kind in types.items() - self._columns.items()
            if (self._columns.get(name), kind) not in _STORED_AS_THEY_ARE
        ]

    def _fitted_row(
        self, row: Row, misfits: Sequence[tuple[str, str]]
    ) -> tuple[Mapping[str, Any], Sequence[Row]]:
        values = dict(row.values)
        discards: list[Row] = []
        spilled: dict[str, Any] = {}
        for name, kind in misfits:
            if name not in values:
                continue
            if name not in self._columns and EXTRA_COLUMN in self._columns:
                spilled[name] = _json_value(values.pop(name), kind)
                continue
            converted = _converted_value(values[name], self._columns.get(name, "nothing"), kind)
            if isinstance(converted, Discard):
                discards.append(_discard_row(row, name, converted))
                del values[name]
            else:
                values[name] = converted
        if spilled:
            values[EXTRA_COLUMN] = merged_extra(values.get(EXTRA_COLUMN), json_text(spilled))
        return values, discards


def merged_extra(earlier: str | None, later: str | None) -> str | None:
    """Two JSON objects merged by key; the later wins."""
    if earlier is None or later is None:
        return later if earlier is None else earlier
    return json_text({**json.loads(earlier), **json.loads(later)})


def _converted_value(value: Any, column_type: str, event_type: str) -> Any | Discard:
    if is_narrow(column_type):
        return convert_narrow(value, column_type, event_type)
    return convert(value, column_type, event_type)


def _json_value(value: Any, kind: str) -> Any:
    """The value as it was in the event's JSON."""
    return json.loads(value) if kind == "json" or isinstance(value, JsonText) else value


def _discard_row(row: Row, column: str, discard: Discard) -> Row:
    values = {
        "table_name": row.table,
        "column_name": column,
        "column_value": discard.value,
        "reason": discard.reason,
        "row_id": str(row.values.get("id", "")),
        "received_at": row.values["received_at"],
    }
    return Row(DISCARDS, dict(DISCARD_COLUMNS), values)
