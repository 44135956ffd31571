"""Names of columns, tables and namespaces in RudderStack's spelling."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from destinations.warehouse.rows.reserved_names import (
    PROTECTED_TABLES,
    RESERVED_COLUMNS,
    RESERVED_NAMESPACES,
    RESERVED_WORDS,
    is_reserved_table,
)

IDENTIFIER_LIMIT: Final = 63
"""Postgres cuts longer names of tables, columns and schemas."""
NAMESPACE_LIMIT: Final = 127
"""RudderStack's transformer cuts a namespace here."""

_RUN = re.compile("[A-Za-z0-9]+")
_RUNS = _RUN.findall
_BLENDO_OTHERS = re.compile(r"[^a-zA-Z0-9\\$]")
_LONG_KEY: Final = 256
_DIGITS: Final = frozenset("0123456789")

_LETTERS_AND_DIGITS = r"[A-Z]?[a-z]+[0-9]+|[A-Z]+[0-9]+|[0-9]+[A-Z]?[a-z]+|[0-9]+[A-Z]+|"
_WORDS = (
    r"[A-Z]?[a-z]+(?=_|[A-Z]|\Z)|[A-Z]+(?=_|[A-Z][a-z]|\Z)|[A-Z]?[a-z]+|[A-Z]+"
    r"|[0-9]*(?:1ST|2ND|3RD|[04-9]TH)(?=\b|[a-z_])"
    r"|[0-9]*(?:1st|2nd|3rd|[04-9]th)(?=\b|[A-Z_])"
    r"|[0-9]+"
)
_split_words = re.compile(_LETTERS_AND_DIGITS + _WORDS, re.ASCII).findall
_split_words_and_numbers = re.compile(_WORDS, re.ASCII).findall
_NAMESPACE_EDGES = re.compile(
    "(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Z])(?=[A-Z][a-z])"
)


class Casing(NamedTuple):
    """Options of an event or its destination for the spelling of names."""

    divide_numbers: bool = False
    """"sha256" becomes "sha_256"."""
    blendo: bool = False
    """Other characters become `_`; words are not split."""
    keep_words: bool = False
    """Reserved words get no `_`."""


DEFAULT_CASING: Final = Casing()


def column_name(key: str, casing: Casing = DEFAULT_CASING) -> str:
    """The column for a path joined by `_`: "productId" gives "product_id".

    It is empty if no letter, digit or leading underscore is left; the caller drops the value.
    """
    if casing.blendo:
        name = _blendo_case(key[:IDENTIFIER_LIMIT])
    else:
        name = _snake_case(_visible_part(key), casing.divide_numbers)
    return _escaped_name(name, casing)


def event_name(text: str, casing: Casing = DEFAULT_CASING) -> str:
    """The value of a track's column `event`: not cut, and reserved words get no underscore."""
    return text.lower().strip() if casing.blendo else _snake_case(text, casing.divide_numbers)


def table_name(text: str, casing: Casing = DEFAULT_CASING) -> str:
    """The table of an event: "Order" gives "_order". It is never a table or view of ours."""
    name = column_name(text, casing)
    if is_reserved_table(name) or (name in PROTECTED_TABLES and not casing.keep_words):
        return f"_{name}"[:IDENTIFIER_LIMIT]
    return name


def namespace_name(name: str) -> str:
    """The namespace for a source of this name, of at most NAMESPACE_LIMIT characters."""
    joined = _NAMESPACE_EDGES.sub("_", "_".join(_RUNS(name))).lower()
    if not joined:
        return "stringempty"
    if joined[0] in _DIGITS or joined in RESERVED_NAMESPACES:
        joined = f"_{joined}"
    return joined[:NAMESPACE_LIMIT]


def _visible_part(key: str) -> str:
    """The part of a key that can appear in a name; a hostile key is as long as its event."""
    if len(key) <= _LONG_KEY:
        return key
    parts: list[str] = []
    left = _LONG_KEY
    for run in _RUN.finditer(key):
        parts.append(run[0][:left])
        left -= len(parts[-1]) + 1
        if left <= 0:
            break
    underscores = len(key) - len(key.lstrip("_"))
    return "_" * min(underscores, _LONG_KEY) + "_".join(parts)


def _snake_case(text: str, divide_numbers: bool) -> str:
    words = (_split_words_and_numbers if divide_numbers else _split_words)("_".join(_RUNS(text)))
    underscores = len(text) - len(text.lstrip("_"))
    name = "_" * underscores + "_".join(words).lower()
    return f"_{name}" if name[:1] in _DIGITS else name


def _blendo_case(text: str) -> str:
    name = _BLENDO_OTHERS.sub("_", text).lower()
    return name if name[:1].isalpha() or name[:1] == "_" else f"_{name}"


def _escaped_name(name: str, casing: Casing) -> str:
    name = name[:IDENTIFIER_LIMIT]
    if not casing.keep_words and name in RESERVED_WORDS:
        return f"_{name}"
    return name


class Scope(dict[str, str]):
    """The columns of the keys under one path; a key without a column has the empty text.

    It computes a missing key once, so that a value costs a look-up and no naming.
    """

    __slots__ = ("_cache", "_casing", "_children", "_reserved", "prefix")

    def __init__(
        self, cache: NameCache, casing: Casing, reserved: frozenset[str], prefix: str
    ) -> None:
        super().__init__()
        self._cache = cache
        self._casing = casing
        self._reserved = reserved
        self._children: dict[str, Scope] = {}
        self.prefix = prefix

    def __missing__(self, key: str) -> str:
        path = self.prefix + key
        column = column_name(path, self._casing)
        if column in self._reserved:
            column = ""
        if self._cache.may_keep(path):
            self[key] = column
        return column

    def child(self, key: str) -> Scope:
        child = self._children.get(key)
        if child is None:
            path = f"{self.prefix}{key}_"
            child = Scope(self._cache, self._casing, self._reserved, path)
            if self._cache.may_keep(path):
                self._children[key] = child
        return child


class NameCache:
    """The scopes by casing, event type and prefix.

    Anyone with a write key can send new keys, so the cache is bounded: it starts again from empty
    when it reaches the limit.
    """

    def __init__(self, max_kept: int = 50_000, max_path: int = 200) -> None:
        self._max_kept = max_kept
        self._max_path = max_path
        self._kept = 0
        self._roots: dict[tuple[Casing, str, str], Scope] = {}

    def scope(self, casing: Casing, event_type: str, prefix: str) -> Scope:
        """The scope of a top-level object; the prefix is "" or "context_"."""
        root = (casing, event_type, prefix)
        scope = self._roots.get(root)
        if scope is None:
            scope = Scope(self, casing, RESERVED_COLUMNS[event_type], prefix)
            self._roots[root] = scope
        return scope

    def may_keep(self, path: str) -> bool:
        """Count one more path; False for a long path, which the cache does not keep."""
        if len(path) > self._max_path:
            return False
        self._kept += 1
        if self._kept > self._max_kept:
            self._kept = 0
            self._roots = {}
        return True
