"""Values as text: JSON for Postgres, and the form of values in `rudder_discards`."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import Any, Final

import orjson

MAX_DEPTH: Final = 250
"""The gateway refuses events nested deeper than 200."""

_EXACT_FLOATS: Final = 1e21
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


class TransformError(ValueError):
    """Raised when an event or a value cannot become a row; the message is the reason."""


def without_nul(text: str) -> str:
    """The text without NUL, and with U+FFFD for lone surrogates, as Postgres can store it."""
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def json_text(value: Any) -> str:
    """Compact JSON with the keys in their order; whole floats as integers, 1e999 as null."""
    plain = _plain_value(value, 0)
    try:
        text = orjson.dumps(plain).decode()
    except TypeError:  # a lone surrogate, or an integer of more than 64 bits
        return _standard_json(cleaned_json(plain))
    return _standard_json(cleaned_json(plain)) if "\\u0000" in text else text


def _standard_json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:  # an integer of more digits than Python prints
        raise TransformError("number out of range") from error


def _plain_value(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is float:
        if value.is_integer() and abs(value) < _EXACT_FLOATS:
            return int(value)
        return value if math.isfinite(value) else None
    if kind is not dict and kind is not list:
        return value
    if depth >= MAX_DEPTH:
        raise TransformError(f"nested deeper than {MAX_DEPTH}")
    if kind is dict:
        return {key: _plain_value(item, depth + 1) for key, item in value.items()}
    return [_plain_value(item, depth + 1) for item in value]


def cleaned_json(value: Any) -> Any:
    """The value with all of its texts, including keys, as Postgres can store them."""
    if isinstance(value, str):
        return without_nul(value)
    if isinstance(value, dict):
        return {without_nul(key): cleaned_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [cleaned_json(item) for item in value]
    return value


def go_text(value: Any, depth: int = 0) -> str:
    """The value as in RudderStack's discards, [1 a true <nil>]; floats are plain decimals."""
    if isinstance(value, str):
        return without_nul(value)
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number_text(value)
    if depth >= MAX_DEPTH:
        return "..."
    if isinstance(value, dict):
        items = (f"{without_nul(key)}:{go_text(value[key], depth + 1)}" for key in sorted(value))
        return f"map[{' '.join(items)}]"
    return f"[{' '.join(go_text(item, depth + 1) for item in value)}]"


def _number_text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return format(Decimal(repr(value)), "f")
    except ValueError:  # an integer of more digits than Python prints
        return hex(int(value))
