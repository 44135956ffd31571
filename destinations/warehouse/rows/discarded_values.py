"""Restores discarded values for columns that now accept them."""

from __future__ import annotations

import re
from typing import Any, Final

from destinations.warehouse.rows.datatypes import Discard, convert
from destinations.warehouse.rows.narrow_types import convert_narrow, is_narrow

_CONVERSION: Final = re.compile(r"incompatible schema conversion from .+ to (\w+)").fullmatch
_INTEGER: Final = re.compile(r"-?[0-9]+").fullmatch
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?").fullmatch


def stored_text(text: str, reason: str, column_type: str) -> str | None:
    """The text that a column of this type stores for a discard's text; None if it does not fit."""
    kind = _event_type(text, reason)
    if kind == "int" and column_type in ("float", "string"):
        return text  # of any length
    value = _value(text, kind)
    narrow = is_narrow(column_type)
    stored = (convert_narrow if narrow else convert)(value, column_type, kind)
    if isinstance(stored, Discard):
        return None
    if isinstance(stored, bool):
        return "true" if stored else "false"
    return text if isinstance(stored, int | float) else str(stored)


def _event_type(text: str, reason: str) -> str:
    if match := _CONVERSION(reason):
        return match[1]
    if _INTEGER(text):
        return "int"
    return "float" if _NUMBER(text) else "string"


def _value(text: str, kind: str) -> Any:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    return text == "true" if kind == "boolean" else text
