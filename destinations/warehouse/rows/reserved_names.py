"""Which columns and tables are ours, by type of event."""

from __future__ import annotations

from typing import Final

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
"""Columns that a property cannot set: it is dropped when its name comes to one of them."""

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
"""Of a cloud source, an object below this many keys is stored as its JSON text."""


def taken_by_us(table: str) -> bool:
    """Whether an event table of this name would hide one of ours or a view on one."""
    return table in SYSTEM_TABLES or table.startswith(SYSTEM_PREFIX) or table.endswith(VIEW_SUFFIX)
