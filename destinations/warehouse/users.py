"""The users table: per user and column the latest non-null value of the identifies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from destinations.warehouse.transform import Row


def user_row(identifies: Row) -> Row:
    """The users row of one identify: all columns of identifies, the user's id as id."""
    types = {name: kind for name, kind in identifies.types.items() if name != "user_id"}
    values = {name: value for name, value in identifies.values.items() if name != "user_id"}
    types["id"] = identifies.types["user_id"]
    values["id"] = identifies.values["user_id"]
    return Row("users", types, values)


def latest(rows: Iterable[Row]) -> list[Row]:
    """One row a user, by (received_at, order given): later values win, missing ones never do."""
    users: dict[Any, Row] = {}
    for row in sorted(rows, key=lambda row: str(row.values["received_at"])):
        key = str(row.values["id"])
        if key in users:
            earlier = users[key]
            types, values = earlier.types | row.types, earlier.values | row.values
            users[key] = Row("users", types, values)
        else:
            users[key] = row
    return list(users.values())
