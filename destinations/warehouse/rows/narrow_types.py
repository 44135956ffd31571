"""Types of columns that were created by hand and hold less than the types of a load.

They keep the server's spelling: "integer", "character varying(20)", "numeric(10,2)".
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from destinations.warehouse.json_text import go_text
from destinations.warehouse.rows.datatypes import Discard, convert

_WHOLE: Final = {"smallint": 2**15, "integer": 2**31}
_LIMITED = re.compile(
    r"(character varying|character|numeric)\(([0-9]+)(?:,(-?[0-9]+))?\)"
).fullmatch


def is_narrow(column_type: str) -> bool:
    return column_type in _WHOLE or _limit(column_type) is not None


def wide_type(column_type: str) -> str:
    """The type of datatypes.py that holds every value of the column."""
    if column_type in _WHOLE:
        return "int"
    limit = _limit(column_type)
    if limit is None:
        return column_type
    return "float" if limit[0] == "numeric" else "string"


def is_whole(column_type: str) -> bool:
    """Whether a column of this type stores only whole numbers, so that a load may widen it."""
    return column_type == "int" or column_type in _WHOLE


def convert_narrow(value: Any, column_type: str, event_type: str) -> Any | Discard:
    """The value as the wide type stores it, or a Discard if the column cannot hold all of it."""
    whole = _WHOLE.get(column_type)
    if whole is not None:
        stored = convert(value, "int", event_type)
        fits = isinstance(stored, Discard) or -whole <= stored < whole
        return stored if fits else Discard(go_text(value), "number out of range")
    limit = _limit(column_type)
    if limit is None:
        raise ValueError(f"{column_type!r} is no narrow type")
    kind, length, scale = limit
    stored = convert(value, "float" if kind == "numeric" else "string", event_type)
    if isinstance(stored, Discard):
        return stored
    if kind != "numeric":
        fits = len(stored) <= length
        return stored if fits else Discard(go_text(value), f"longer than {length} characters")
    fits = _fits_numeric(Decimal(str(stored)), length, scale)
    return stored if fits else Discard(go_text(value), f"does not fit {column_type}")


def _fits_numeric(number: Decimal, precision: int, scale: int) -> bool:
    rounded = round(number, scale)
    return rounded == number and abs(number) < Decimal(10) ** (precision - scale)


@lru_cache(maxsize=1024)
def _limit(column_type: str) -> tuple[str, int, int] | None:
    match = _LIMITED(column_type)
    return (match[1], int(match[2]), int(match[3] or 0)) if match else None
