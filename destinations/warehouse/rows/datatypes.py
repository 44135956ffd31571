"""The six column types: which type a JSON value has, and which values a column stores."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, NamedTuple

from destinations.warehouse.json_text import TransformError, go_text, json_text, without_nul

BOOLEAN: Final = "boolean"
INT: Final = "int"
FLOAT: Final = "float"
STRING: Final = "string"
DATETIME: Final = "datetime"
JSON: Final = "json"

TIMESTAMP_LENGTH: Final = 40
BIGINT: Final = range(-(2**63), 2**63)

_OUT_OF_RANGE = "number out of range"
_CANONICAL = re.compile(
    r"(?!0000)[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
).fullmatch
_SHAPE = re.compile(
    r"([0-9]{4})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"(?:[T ](?:([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]+))?)?"
    r"(?:Z|([+-])([01][0-9]|2[0-3])(?::?([0-5][0-9]))?)?)?)?"
).fullmatch


class Discard(NamedTuple):
    """A value that does not fit its column, as text, and the reason."""

    value: str
    reason: str


def timestamp(text: str) -> str | None:
    """The moment as "2024-01-15T10:20:30.123Z" in UTC, or None when text is not a timestamp.

    Fractions are cut to milliseconds; days past the month's end roll over. As in RudderStack, a
    property with another spelling of a time stays text.
    """
    if text[4:5] != "-" or len(text) > TIMESTAMP_LENGTH:
        return None
    if _CANONICAL(text):
        return text
    match = _SHAPE(text)
    return None if match is None else _moment(match)


def _moment(match: re.Match[str]) -> str | None:
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    zone = timezone(-offset if sign == "-" else offset)
    try:
        first = datetime(
            int(year),
            int(month),
            1,
            int(hour or 0),
            int(minute or 0),
            int(second or 0),
            int((fraction or "")[:6].ljust(6, "0")),
            zone,
        )
        moment = (first + timedelta(days=int(day) - 1)).astimezone(UTC)
    except (ValueError, OverflowError):  # before the year 1 or after 9999
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def typed_value(value: Any) -> tuple[str, Any]:
    """The type of a JSON value, and the value as a row holds it; arrays stay arrays."""
    kind = type(value)
    if kind is str:
        if (moment := timestamp(value)) is not None:
            return DATETIME, moment
        return STRING, value
    if kind is bool:
        return BOOLEAN, value
    if kind is int:
        return INT, value
    if kind is float:
        return (INT, int(value)) if value.is_integer() else (FLOAT, value)
    return STRING, value


def convert(value: Any, column_type: str, event_type: str) -> Any | Discard:
    """The value as a column of column_type stores it, or a Discard.

    Text has no NUL, JSON is text, and a number for a float column stays int or float. Nothing is
    cut: a float for an int column is a Discard unless table_plan() widened the column.
    """
    if value is None:
        return None
    column_type = STRING if column_type == "text" else column_type
    conversion = _CONVERSIONS.get((column_type, event_type))
    if conversion is None:
        return Discard(
            go_text(value), f"incompatible schema conversion from {column_type} to {event_type}"
        )
    try:
        return conversion(value)
    except TransformError as error:
        return Discard(go_text(value), str(error))


def _bigint(value: Any) -> Any:
    if value in BIGINT:
        return value
    raise TransformError(_OUT_OF_RANGE)


def _number(value: Any) -> Any:
    if type(value) is float and not math.isfinite(value):
        raise TransformError(_OUT_OF_RANGE)
    return value


def _text(value: Any) -> str:
    return without_nul(value) if type(value) is str else json_text(value)


def _digits(value: Any) -> str:
    try:
        return str(value)
    except ValueError as error:  # more digits than Python prints
        raise TransformError(_OUT_OF_RANGE) from error


def _decimal(value: Any) -> str:
    return format(Decimal(repr(_number(value))), "f")


def _same(value: Any) -> Any:
    return value


def _number_json(value: Any) -> str:
    return json_text(_number(value))


_CONVERSIONS: Final[dict[tuple[str, str], Callable[[Any], Any]]] = {
    (BOOLEAN, BOOLEAN): _same,
    (INT, INT): _bigint,
    (FLOAT, FLOAT): _number,
    (FLOAT, INT): _number,
    (DATETIME, DATETIME): _same,
    (STRING, STRING): _text,
    (STRING, INT): _digits,
    (STRING, FLOAT): _decimal,
    (STRING, BOOLEAN): json_text,
    (STRING, DATETIME): _same,
    (STRING, JSON): without_nul,
    (JSON, JSON): _same,
    (JSON, INT): _number_json,
    (JSON, FLOAT): _number_json,
    (JSON, STRING): json_text,
    (JSON, BOOLEAN): json_text,
    (JSON, DATETIME): json_text,
}
