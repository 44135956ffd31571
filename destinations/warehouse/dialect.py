from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

BIGINT_MIN, BIGINT_MAX = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Dialect:
    """What one kind of warehouse allows; a difference between warehouses is a value here."""

    type: str
    """How events name it in `integrations`."""
    identifier_limit: int
    namespace_limit: int
    """Where the transform cuts a namespace; the server itself cuts at identifier_limit."""
    max_columns: int
    """In one table, and so in one row."""
    reserved_words: frozenset[str]
    """Table and column names that get `_` in front, in lower case."""
    reserved_namespaces: frozenset[str]
    column_types: Mapping[str, str]
    """Our type to the type a new column is created with."""
    known_types: Mapping[str, str]
    """The type of an existing column to ours; a type missing here takes no values."""


_POSTGRES_WORDS = frozenset(
    """
    all analyse analyze and any array as asc asymmetric authorization between binary both case
    cast check collate column constraint create cross current_date current_role current_time
    current_timestamp current_user default deferrable desc distinct do else end except false for
    foreign freeze from full grant group having ilike in initially inner intersect into is isnull
    join leading left like limit localtime localtimestamp natural new not notnull null off offset
    old on only or order outer overlaps placing primary references right select session_user
    similar some symmetric table then to trailing true union unique user using verbose when where
    """.split()  # noqa: SIM905  # a column of 93 quoted words is no easier to read
)

POSTGRES = Dialect(
    type="POSTGRES",
    identifier_limit=63,
    namespace_limit=127,
    max_columns=1600,
    reserved_words=_POSTGRES_WORDS,
    reserved_namespaces=_POSTGRES_WORDS - {"to", "true"},
    column_types=MappingProxyType(
        {
            "boolean": "boolean",
            "int": "bigint",
            "float": "numeric",
            "string": "text",
            "datetime": "timestamptz",
            "json": "jsonb",
        }
    ),
    known_types=MappingProxyType(
        {
            "boolean": "boolean",
            "smallint": "int",
            "integer": "int",
            "bigint": "int",
            "numeric": "float",
            "double precision": "float",
            "real": "float",
            "text": "string",
            "timestamp with time zone": "datetime",
            "jsonb": "json",
        }
    ),
)
