"""The users table: per user and column the latest non-null value of the identifies.

Latest is by received_at; of values received at the same time, the one that was loaded later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from destinations.warehouse.rows.narrow_types import wide_type
from destinations.warehouse.rows.schema import EXTRA_COLUMN, merged_extra

OLDEST_COLUMN = "rudder_oldest"
"""Of the staged users only: when the oldest identify of the row was received."""


@dataclass(frozen=True)
class User:
    """What a chunk says of a user: the merged row, and when its oldest identify was received."""

    values: dict[str, Any]
    oldest: str


def user_columns(identifies: Mapping[str, str]) -> dict[str, str]:
    """The columns of users for these of identifies: all but the user's id, which is id."""
    return {name: wide_type(kind) for name, kind in identifies.items() if name != "user_id"}


def latest_users(identifies: Iterable[Mapping[str, Any]]) -> dict[str, User]:
    """The users of these identifies, given in the order of loading; those of nobody are left out.

    A later value wins, a missing one never does.
    """
    users: dict[str, User] = {}
    for values in sorted(identifies, key=_received_at):
        user_id = values.get("user_id")
        if user_id is None:
            continue
        known = users.get(user_id)
        merged = {**(known.values if known else {}), **values}
        del merged["user_id"]
        if known and EXTRA_COLUMN in known.values:
            extra = values.get(EXTRA_COLUMN)
            merged[EXTRA_COLUMN] = merged_extra(known.values[EXTRA_COLUMN], extra)
        merged["id"] = user_id
        users[user_id] = User(merged, known.oldest if known else values["received_at"])
    return users


def _received_at(values: Mapping[str, Any]) -> str:
    return str(values["received_at"])
