"""JSON of senders: bytes to values, forgiving about text, strict about JSON.

orjson reads what is plain. Whatever it refuses or would change (integers beyond 64 bits, NUL,
lone surrogates, bytes that are not UTF-8) is read again, slowly and exactly.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, NoReturn

import orjson

from events.spec import InvalidRequestError

MAX_NESTING = 200

_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))  # noqa: PLR2004
_LONG_NUMBER = b"0" * 19
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"\\')
_STEPS = {0x5B: 1, 0x5D: -1}
_SURROGATE = re.compile("[\ud800-\udfff]")


class InvalidJSONError(InvalidRequestError):
    """The body is not JSON as RFC 8259 has it, or nests too deep."""


def loads(body: bytes) -> Any:
    """The JSON value of a body, without NUL, lone surrogates and infinite numbers."""
    if body.count(b"[") + body.count(b"{") > MAX_NESTING and _nests_deeper(body, MAX_NESTING):
        raise InvalidJSONError(f"invalid json: nested deeper than {MAX_NESTING}")
    if b"\\u0000" in body or _LONG_NUMBER in body.translate(_DIGITS):
        return _loads_exactly(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _loads_exactly(body)


def without_nul_and_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value.replace("\0", ""))
    if isinstance(value, dict):
        clean = without_nul_and_surrogates
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_nul_and_surrogates(item) for item in value]
    return value


def _nests_deeper(body: bytes, most: int) -> bool:
    """Whether more than so many brackets are open at once; those in strings do not count."""
    structure = body.translate(None, _NOT_STRUCTURE).replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(structure.split(b'"')[::2]).translate(_TO_SQUARE, b"\\")
    for _ in range(8):  # innermost pairs, layer by layer: most bodies are gone by then
        brackets = brackets.replace(b"[]", b"")
    most -= 8
    return any(depth > most for depth in accumulate(map(_STEPS.__getitem__, brackets)))


def _loads_exactly(body: bytes) -> Any:
    text = body.decode(errors="replace")
    try:
        value = json.loads(
            text, parse_int=_integer, parse_float=_finite, parse_constant=_no_constant
        )
    except json.JSONDecodeError as error:
        raise InvalidJSONError(f"invalid json at character {error.pos + 1}") from error
    return without_nul_and_surrogates(value)


def _integer(text: str) -> int:
    _finite(text)
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidJSONError("invalid json: a number is beyond the range of a double")
    return number


def _no_constant(name: str) -> NoReturn:
    raise InvalidJSONError(f"invalid json: {name} is no JSON value")
