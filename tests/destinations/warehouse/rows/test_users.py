from __future__ import annotations

from destinations.warehouse.rows.users import User, latest_users, user_columns


def identify(received_at, **values):
    return {"id": "m", "user_id": "u1", "received_at": received_at, **values}


def test_users_have_the_columns_of_identifies_but_the_users_id():
    columns = {"id": "string", "user_id": "string", "plan": "string", "age": "integer"}

    assert user_columns(columns) == {"id": "string", "plan": "string", "age": "int"}


def test_a_users_row_is_the_identify_with_the_user_as_id():
    users = latest_users([identify("2026-03-01", plan="pro")])

    values = {"id": "u1", "received_at": "2026-03-01", "plan": "pro"}
    assert users == {"u1": User(values, "2026-03-01")}


def test_a_later_value_wins_and_a_missing_one_does_not():
    users = latest_users(
        [identify("2026-03-02", plan="pro"), identify("2026-03-01", plan="free", city="Rome")]
    )

    values = {"id": "u1", "received_at": "2026-03-02", "plan": "pro", "city": "Rome"}
    assert users == {"u1": User(values, "2026-03-01")}


def test_of_one_time_the_last_given_wins():
    users = latest_users([identify("2026-03-01", plan="free"), identify("2026-03-01", plan="pro")])

    assert users["u1"].values["plan"] == "pro"


def test_each_user_has_one_row_and_nobody_none():
    users = latest_users(
        [identify("2026-03-01"), identify("2026-03-01", user_id="u2"), {"received_at": "2026"}]
    )

    assert list(users) == ["u1", "u2"]


def test_values_over_the_budget_are_the_latest_of_each_key():
    users = latest_users(
        [
            identify("2026-03-01", rudder_extra='{"a":1,"b":1}'),
            identify("2026-03-02", rudder_extra='{"b":2}'),
        ]
    )

    assert users["u1"].values["rudder_extra"] == '{"a":1,"b":2}'
