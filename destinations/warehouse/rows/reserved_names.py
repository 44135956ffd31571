"""Names that an event cannot give to its tables and columns."""

from __future__ import annotations

from typing import Final

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
"""Postgres's keywords; a table or column of such a name gets `_` in front."""
RESERVED_NAMESPACES: Final = RESERVED_WORDS - {"to", "true"}

_COMMON = frozenset(
    """
    id anonymous_id user_id sent_at timestamp received_at original_timestamp channel context_ip
    context_request_ip context_passed_ip
    """.split()  # noqa: SIM905  # read as one list
)
_OURS = frozenset({"uuid_ts", "rudder_profile_id", "rudder_extra"})

RESERVED_COLUMNS: Final[dict[str, frozenset[str]]] = {
    "track": _OURS | _COMMON | {"event_text", "record_id"},
    "identify": _OURS | _COMMON,
    "page": _OURS | _COMMON | {"name"},
    "screen": _OURS | _COMMON | {"name"},
    "group": _OURS | _COMMON | {"group_id"},
    "alias": _OURS | _COMMON | {"previous_id"},
    "extract": _OURS | {"id", "received_at", "event"},
}
"""Columns that a property cannot set; a property with such a column name is dropped."""

EVENT_TABLES: Final[dict[str, str]] = {
    "track": "tracks",
    "identify": "identifies",
    "page": "pages",
    "screen": "screens",
    "group": "groups",
    "alias": "aliases",
}
"""The table of each type of event that has one."""
SYSTEM_TABLES: Final = frozenset({*EVENT_TABLES.values(), "users"})
"""The tables with a resolved view."""
PROTECTED_TABLES: Final = SYSTEM_TABLES | {"accounts"}
SYSTEM_PREFIX: Final = "rudder_"
VIEW_SUFFIX: Final = "_resolved"

SKIPPED_TYPES: Final[dict[str, str]] = {
    "merge": "merge events link identities and have no table",
    "audiencelist": "audiencelist events have no table",
    "record": "record events have no table",
    "erased": "its person was erased",
}

RECORD_ID_CATEGORIES: Final = frozenset({"cloud", "singer-protocol"})
SHALLOW_CATEGORY: Final = "cloud"
SHALLOW_LEVELS: Final = 3
"""An object nested deeper than this in a cloud source's event becomes JSON text."""


def is_reserved_table(table: str) -> bool:
    """Whether an event table of this name would hide one of ours or a view on one."""
    return table in SYSTEM_TABLES or table.startswith(SYSTEM_PREFIX) or table.endswith(VIEW_SUFFIX)
