"""Flattens an object of an event to columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from destinations.warehouse.json_text import MAX_DEPTH, TransformError, json_text
from destinations.warehouse.rows.datatypes import (
    BOOLEAN,
    DATETIME,
    FLOAT,
    INT,
    JSON,
    STRING,
    TIMESTAMP_LENGTH,
    timestamp,
)
from destinations.warehouse.rows.naming import Scope
from destinations.warehouse.rows.reserved_names import SHALLOW_LEVELS


class Columns(NamedTuple):
    """The types and values of some columns of a row."""

    types: dict[str, str]
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """Options for flattening one section of an event."""

    json_paths: frozenset[tuple[int, str]] | None = None
    """Level and path, below the section's prefix, of values that stay JSON."""
    prefix_length: int = 0
    shallow: bool = False
    """Objects below SHALLOW_LEVELS stay JSON text."""
    ordered: bool = False
    """Walk keys sorted, so that the winner of colliding columns does not depend on their order."""


PLAIN: Final = Shape()


def is_blank(value: Any) -> bool:
    """Whether a value gives no column: null, "", [], or an array of one blank text or array."""
    if type(value) is list:
        while type(value) is list and len(value) == 1:
            value = value[0]
        return value in ("", [])
    return value is None or value == ""


def flatten(source: dict[str, Any], scope: Scope, shape: Shape = PLAIN) -> Columns:
    """The columns of an object. If names collide, the last by sorted key wins."""
    columns = Columns({}, {})
    written = _walk(source, scope, shape, columns, 0)
    if written == len(columns.values):
        return columns
    ordered = Shape(shape.json_paths, shape.prefix_length, shape.shallow, ordered=True)
    columns = Columns({}, {})
    _walk(source, scope, ordered, columns, 0)
    return columns


def _walk(source: dict[str, Any], scope: Scope, shape: Shape, columns: Columns, level: int) -> int:
    """Write the columns; returns the number of writes, which shows the caller collisions."""
    types, values = columns
    json_paths = shape.json_paths
    written = 0
    for key, value in sorted(source.items()) if shape.ordered else source.items():
        kind: Any = type(value)
        stored = value
        if json_paths is not None and not is_blank(value) and _is_json(key, scope, shape, level):
            column_type, stored = JSON, json_text(value)
        elif kind is str:
            if not value:
                continue
            column_type = STRING
            if "0" <= value[0] <= "9" and len(value) <= TIMESTAMP_LENGTH:
                moment = timestamp(value)
                if moment is not None:
                    column_type, stored = DATETIME, moment
        elif kind is int:
            column_type = INT
        elif kind is bool:
            column_type = BOOLEAN
        elif value is None:
            continue
        elif kind is dict:
            if not (shape.shallow and level >= SHALLOW_LEVELS):
                if level >= MAX_DEPTH:
                    raise TransformError(f"nested deeper than {MAX_DEPTH}")
                written += _walk(value, scope.child(key), shape, columns, level + 1)
                continue
            column_type, stored = STRING, json_text(value)
        elif kind is float:
            if value.is_integer():
                column_type, stored = INT, int(value)
            else:
                column_type = FLOAT
        elif is_blank(value):
            continue
        else:
            column_type = STRING
        column = scope[key]
        if column:
            types[column] = column_type
            values[column] = stored
            written += 1
    return written


def _is_json(key: str, scope: Scope, shape: Shape, level: int) -> bool:
    path = (scope.prefix + key)[shape.prefix_length :]
    return shape.json_paths is not None and (level, path) in shape.json_paths
