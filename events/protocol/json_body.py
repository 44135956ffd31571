"""Decodes the JSON of senders: tolerant of broken text, strict about JSON.

orjson decodes ordinary bodies. A body that it refuses or would change (integers beyond 64 bits,
NUL, lone surrogates, bytes that are not UTF-8) is decoded slowly and exactly instead.
"""

from __future__ import annotations

import json
import math
from itertools import accumulate
from typing import Any, NoReturn

import orjson

from destinations.warehouse.json_text import cleaned_json
from events.protocol.event import InvalidRequestError

MAX_NESTING = 200

_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))  # noqa: PLR2004
_LONG_NUMBER = b"0" * 19
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NOT_STRUCTURE = bytes(byte for byte in range(256) if byte not in b'[]{}"\\')
_STEPS = {0x5B: 1, 0x5D: -1}


class InvalidJSONError(InvalidRequestError):
    """The body is not JSON by RFC 8259, or nests too deep."""


def loads(body: bytes) -> Any:
    """The JSON value of a body, without NUL, lone surrogates and infinite numbers."""
    if body.count(b"[") + body.count(b"{") > MAX_NESTING and _is_nested_deeper(body, MAX_NESTING):
        raise InvalidJSONError(f"invalid json: nested deeper than {MAX_NESTING}")
    if b"\\u0000" in body or _LONG_NUMBER in body.translate(_DIGITS):
        return _loads_exactly(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _loads_exactly(body)


def _is_nested_deeper(body: bytes, limit: int) -> bool:
    """Whether more brackets than the limit are open at once; brackets in strings do not count."""
    structure = body.translate(None, _NOT_STRUCTURE).replace(b"\\\\", b"").replace(b'\\"', b"")
    brackets = b"".join(structure.split(b'"')[::2]).translate(_TO_SQUARE, b"\\")
    for _ in range(8):  # removes the innermost pairs; most bodies have no more than eight layers
        brackets = brackets.replace(b"[]", b"")
    limit -= 8
    return any(depth > limit for depth in accumulate(map(_STEPS.__getitem__, brackets)))


def _loads_exactly(body: bytes) -> Any:
    text = body.decode(errors="replace")
    try:
        value = json.loads(
            text,
            parse_int=_parse_integer,
            parse_float=_parse_float,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise InvalidJSONError(f"invalid json at character {error.pos + 1}") from error
    return cleaned_json(value)


def _parse_integer(text: str) -> int:
    _parse_float(text)  # refuses what is beyond the range of a double
    return int(text)


def _parse_float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidJSONError("invalid json: a number is beyond the range of a double")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJSONError(f"invalid json: {name} is no JSON value")
