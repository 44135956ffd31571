"""What Postgres allows, as the transform must know it.

Constants, since there is one kind of warehouse. Nothing else of the core is particular to it.
"""

from __future__ import annotations

from typing import Final

DESTINATION_TYPE: Final = "POSTGRES"
"""The name of this type of destination, in `integrations` of events, too."""
BIGINT_MIN, BIGINT_MAX = -(2**63), 2**63 - 1
IDENTIFIER_LIMIT: Final = 63
NAMESPACE_LIMIT: Final = 127
"""Where the transform cuts a namespace; the server itself cuts it at IDENTIFIER_LIMIT."""
MAX_COLUMNS: Final = 1600
"""In one table, and so in one row."""

RESERVED_WORDS: Final = frozenset(
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
"""Names of tables and columns that get `_` in front, in lower case."""
RESERVED_NAMESPACES: Final = RESERVED_WORDS - {"to", "true"}
