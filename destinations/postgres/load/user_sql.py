"""Statements that keep the users table in step with identifies."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed

from destinations.postgres.load.table_sql import quoted


def users_identified_before(schema: str) -> Composed:
    """The users that have identifies from before a time of loading."""
    return SQL(
        """
        SELECT wanted.id
        FROM unnest(%s::text[]) AS wanted (id)
        WHERE EXISTS (
            SELECT
            FROM {} AS stored
            WHERE stored.user_id = wanted.id
                AND (stored.uuid_ts < %s OR stored.uuid_ts IS NULL)
        )
        """
    ).format(pgsql.Identifier(schema, "identifies"))


def lock_users(schema: str) -> Composed:
    """Lock users in the order that all loads use."""
    return SQL(
        """
        SELECT stored.id
        FROM unnest(%s::text[]) AS wanted (id)
        JOIN {} AS stored ON stored.id = wanted.id
        ORDER BY stored.id
        FOR UPDATE OF stored
        """
    ).format(pgsql.Identifier(schema, "users"))


def complete_users(staging: str, schema: str, columns: Sequence[str]) -> Composed:
    """Complete stored users from staged ones with only later identifies; returns their ids."""
    return SQL(
        """
        UPDATE {target} AS stored
        SET {changes}, uuid_ts = transaction_timestamp()
        FROM {staging} AS staged
        WHERE stored.id = staged.id AND staged.rudder_oldest > stored.received_at
        RETURNING stored.id
        """
    ).format(
        target=pgsql.Identifier(schema, "users"),
        staging=pgsql.Identifier(staging),
        changes=SQL(", ").join(_completed_column(name) for name in columns if name != "id"),
    )


def _completed_column(name: str) -> Composed:
    if name == "rudder_extra":
        text = "{0} = coalesce(stored.{0} || staged.{0}, staged.{0}, stored.{0})"
    else:
        text = "{0} = coalesce(staged.{0}, stored.{0})"
    return SQL(text).format(SQL(quoted(name)))


def add_bare_users(schema: str) -> Composed:
    """Insert rows for users without any, so that they can be locked."""
    return SQL(
        """
        INSERT INTO {} (id)
        SELECT id
        FROM unnest(%s::text[]) AS wanted (id)
        ORDER BY id
        ON CONFLICT (id) DO NOTHING
        """
    ).format(pgsql.Identifier(schema, "users"))


_FILLED_VALUE = """CASE
    WHEN latest.received_at >= stored.received_at THEN coalesce(latest.{0}, stored.{0})
    ELSE coalesce(stored.{0}, latest.{0})
END"""


def recompute_users(schema: str, columns: Sequence[str], *, fill: bool) -> Composed:
    """Set users to the latest non-null values of all their identifies.

    With `fill` a stored value stays if the identifies have no value, and all stored values stay
    if the user's newest identify is gone.
    """
    keep = SQL(_FILLED_VALUE if fill else "latest.{0}")
    changes = [
        SQL("{} = {}").format(name, keep.format(name))
        for name in (SQL(quoted(column)) for column in columns)
    ]
    return SQL(
        """
        UPDATE {users} AS stored
        SET {changes}, uuid_ts = transaction_timestamp()
        FROM (
            SELECT user_id AS id, {latest}
            FROM {identifies}
            WHERE user_id = ANY (%s)
            GROUP BY user_id
        ) AS latest
        WHERE stored.id = latest.id
        """
    ).format(
        users=pgsql.Identifier(schema, "users"),
        identifies=pgsql.Identifier(schema, "identifies"),
        changes=SQL(", ").join(changes),
        latest=SQL(", ").join(map(_latest_value, columns)),
    )


def _latest_value(column: str) -> Composed:
    name = pgsql.Identifier(column)
    if column == "rudder_extra":
        text = """(
            SELECT jsonb_object_agg(pair.key, pair.value ORDER BY extra.position)
            FROM unnest(array_agg({0} ORDER BY received_at, uuid_ts, id))
                WITH ORDINALITY AS extra (object, position),
                jsonb_each(extra.object) AS pair
        ) AS {0}"""
    else:
        text = """(array_agg({0} ORDER BY received_at DESC, uuid_ts DESC, id DESC)
            FILTER (WHERE {0} IS NOT NULL))[1] AS {0}"""
    return SQL(text).format(name)


def delete_users_without_identifies(schema: str) -> Composed:
    return SQL(
        """
        DELETE FROM {users} AS stored
        WHERE stored.id = ANY (%s)
            AND NOT EXISTS (SELECT FROM {identifies} i WHERE i.user_id = stored.id)
        """
    ).format(
        users=pgsql.Identifier(schema, "users"), identifies=pgsql.Identifier(schema, "identifies")
    )
