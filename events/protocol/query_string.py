"""Decodes query strings and URL-encoded forms."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes


def decoded_pairs(raw: bytes) -> Iterator[tuple[str, str]]:
    """The name=value pairs, in order; U+FFFD replaces what is not UTF-8, and NUL is removed."""
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            yield _decode(name), _decode(value)


def first_values(raw: bytes) -> dict[str, str]:
    """The values by name; a repeated name has its first value."""
    values: dict[str, str] = {}
    for name, value in decoded_pairs(raw):
        values.setdefault(name, value)
    return values


def all_values(raw: bytes) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in decoded_pairs(raw):
        values.setdefault(name, []).append(value)
    return values


def _decode(raw: bytes) -> str:
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode(errors="replace").replace("\0", "")
