"""Comments that a load gives to the tables and columns it creates."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

DISCARDS: Final = "rudder_discards"

_TABLES: Final = {
    "tracks": "A row is a track event without its properties, which are in the table of the event.",
    "identifies": "A row is an identify event, with its traits.",
    "users": "A row is a user with the latest value of each trait from identify events.",
    "pages": "A row is a page view.",
    "screens": "A row is a screen view of an app.",
    "groups": "A row is a group event that links a user to a group.",
    "aliases": "A row is an alias event that gives a user another id.",
    DISCARDS: "A row is a value that did not fit its column. The column is NULL in its row.",
}
_EVENT_TABLE: Final = (
    "A row is a track event of one name with its properties. The event is also in tracks."
)

_COLUMNS: Final = {
    "id": "The message id. An event that is sent twice has one row.",
    "anonymous_id": "The id of the device or browser, as sent.",
    "user_id": "The id of the user, as sent; empty before they log in.",
    "received_at": "When rudderhub accepted the event.",
    "sent_at": "When the sender sent it, by the sender's clock.",
    "original_timestamp": "When it happened, by the sender's clock.",
    "timestamp": "When it happened, corrected for the sender's clock.",
    "uuid_ts": "When the row was loaded.",
    "channel": "The kind of sender: web, mobile, server.",
    "event": "The event name as a table name.",
    "event_text": "The name of the event as sent.",
    "name": "The name of the page or screen.",
    "group_id": "The id of the group.",
    "previous_id": "The id that the user had before.",
    "record_id": "The id of the record in the cloud source.",
    "context_ip": "The sender's address from context.ip, or the address of the request.",
    "context_request_ip": "The address of the request.",
    "context_passed_ip": "The address in the event's context.",
    "context_source_id": "The source that received the event.",
    "context_source_type": "The type of that source.",
    "context_destination_id": "The destination that loaded it.",
    "context_destination_type": "The type of that destination.",
    "rudder_profile_id": (
        "The profile of the person when the row was loaded. The _resolved view has the current "
        "one as rudder_id."
    ),
    "rudder_extra": "Properties beyond the column limit, by name.",
    "rudder_event": "The whole event.",
}
_USERS: Final = {
    "id": "The id of the user.",
    "received_at": "When rudderhub accepted the user's latest identify event.",
    "uuid_ts": "When the row was last loaded.",
    "anonymous_id": "The latest id of the user's device or browser.",
}
_DISCARDS: Final = {
    "table_name": "The table of the value.",
    "column_name": "The column of the value.",
    "column_value": "The value, as text.",
    "reason": "Why it did not fit.",
    "row_id": "The id of the row.",
    "received_at": "The received_at of the row.",
    "uuid_ts": "When this row was loaded.",
}
_ONLY_IN: Final = {
    "name": {"pages", "screens"},
    "group_id": {"groups"},
    "previous_id": {"aliases"},
    "record_id": {"tracks"},
}
"""In other tables a column of this name is a property or a trait."""

_TRAIT_TABLES: Final = frozenset({"identifies", "users", "groups"})


def table_comment(table: str) -> str:
    return _TABLES.get(table, _EVENT_TABLE)


def column_comments(table: str, columns: Iterable[str], met: date) -> dict[str, str]:
    """The comment of each column; `met` is the day on which an event first had it."""
    return {column: _column_comment(table, column, met) for column in columns}


def _column_comment(table: str, column: str, met: date) -> str:
    if table == DISCARDS:
        return _DISCARDS.get(column, "")
    if table == "users" and column in _USERS:
        return _USERS[column]
    if column in _COLUMNS and table in _ONLY_IN.get(column, {table}):
        return _COLUMNS[column]
    return f"{_kind(table, column)}, first seen on {met}."


def _kind(table: str, column: str) -> str:
    if column.startswith("context_"):
        return "A context field"
    return "A trait" if table in _TRAIT_TABLES else "A property"
