"""Rows of the users table: the latest non-null value of each column per user.

The latest value has the greatest received_at; among equal ones the value loaded last wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

from destinations.warehouse.rows.narrow_types import wide_type
from destinations.warehouse.rows.schema import EXTRA_COLUMN, merged_extra

OLDEST_COLUMN = "rudder_oldest"
"""A column of staged users only: the received_at of the user's oldest identify in the chunk."""


@dataclass(frozen=True)
class User:
    """The merged row of a user in a chunk; `oldest` is the received_at of its first identify."""

    values: dict[str, Any]
    oldest: str


def user_columns(identifies: Mapping[str, str]) -> dict[str, str]:
    """The columns of users for columns of identifies: all but user_id, which becomes id."""
    return {name: wide_type(kind) for name, kind in identifies.items() if name != "user_id"}


def latest_users(identifies: Iterable[Mapping[str, Any]]) -> dict[str, User]:
    """The users by id, from identifies in the order of loading; some have no user_id.

    A later value wins over an earlier one; a missing value never does.
    """
    users: dict[str, User] = {}
    for values in sorted(identifies, key=itemgetter("received_at")):
        user_id = values.get("user_id")
        if user_id is None:
            continue
        earlier = users.get(user_id)
        merged = {**(earlier.values if earlier else {}), **values}
        del merged["user_id"]
        if earlier and EXTRA_COLUMN in earlier.values:
            extra = values.get(EXTRA_COLUMN)
            merged[EXTRA_COLUMN] = merged_extra(earlier.values[EXTRA_COLUMN], extra)
        merged["id"] = user_id
        users[user_id] = User(merged, earlier.oldest if earlier else values["received_at"])
    return users
