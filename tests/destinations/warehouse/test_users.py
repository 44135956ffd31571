from __future__ import annotations

from destinations.warehouse.transform import Row
from destinations.warehouse.users import latest, user_row


def user(received_at, **values):
    values = {"id": "u1", "received_at": received_at, **values}
    return Row("users", dict.fromkeys(values, "string"), values)


def test_a_users_row_is_the_identify_with_the_user_as_id():
    identify = Row(
        "identifies",
        {"id": "string", "user_id": "string", "plan": "string"},
        {"id": "m1", "user_id": "u1", "plan": "pro"},
    )

    assert user_row(identify) == Row(
        "users", {"id": "string", "plan": "string"}, {"id": "u1", "plan": "pro"}
    )


def test_a_later_value_wins_and_a_missing_one_does_not():
    rows = [user("2026-03-02", plan="pro"), user("2026-03-01", plan="free", city="Rome")]

    assert [row.values for row in latest(rows)] == [
        {"id": "u1", "received_at": "2026-03-02", "plan": "pro", "city": "Rome"}
    ]


def test_of_one_time_the_last_given_wins():
    rows = [user("2026-03-01", plan="free"), user("2026-03-01", plan="pro")]

    assert latest(rows)[0].values["plan"] == "pro"


def test_each_user_has_one_row():
    rows = [user("2026-03-01"), user("2026-03-01", id="u2"), user("2026-03-02")]

    assert [row.values["id"] for row in latest(rows)] == ["u1", "u2"]
