"""Statements that stage a chunk's rows and write them into their tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed

from destinations.postgres.load.table_sql import column_list, key_columns, quoted
from destinations.warehouse.rows.users import OLDEST_COLUMN


def create_staging_table(staging: str, schema: str, table: str, columns: Sequence[str]) -> Composed:
    """Create a table with these columns of another; OLDEST_COLUMN is of the type of received_at."""
    names = [f"received_at AS {c}" if c == OLDEST_COLUMN else quoted(c) for c in columns]
    return SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
        pgsql.Identifier(staging), SQL(", ".join(names)), pgsql.Identifier(schema, table)
    )


def copy_to_staging(staging: str, columns: Sequence[str]) -> Composed:
    return SQL("COPY {} ({}) FROM STDIN").format(pgsql.Identifier(staging), column_list(columns))


def copy_to_table(schema: str, table: str, columns: Sequence[str]) -> Composed:
    return SQL("COPY {} ({}, uuid_ts) FROM STDIN").format(
        pgsql.Identifier(schema, table), column_list(columns)
    )


def insert_staged(staging: str, schema: str, table: str, columns: Sequence[str]) -> Composed:
    """Insert the staged rows with a new key; for identifies and users it returns their ids.

    The uuid_ts of identifies keeps their order. Users are locked in the order all loads use.
    """
    step = "+ row_number() OVER (ORDER BY ctid) * interval '1 microsecond'"
    return SQL(
        """
        INSERT INTO {target} ({columns}, uuid_ts)
        SELECT {columns}, transaction_timestamp() {step}
        FROM {staging}
        {order}
        ON CONFLICT ({key}) DO NOTHING
        {returning}
        """
    ).format(
        target=pgsql.Identifier(schema, table),
        columns=column_list(columns),
        staging=pgsql.Identifier(staging),
        key=column_list(key_columns(table)),
        step=SQL(step if table == "identifies" else ""),
        order=SQL("ORDER BY id" if table == "users" else ""),
        returning=SQL("RETURNING id" if table in ("identifies", "users") else ""),
    )


def lock_stored_rows(staging: str, schema: str, table: str, kept: str) -> Composed:
    """Lock the stored rows with the key of a staged row that was received at another time.

    Returns the first column of the key, whether the staged row is newer, and the stored `kept`.
    """
    key = key_columns(table)
    return SQL(
        """
        SELECT staged.{first}, staged.received_at > stored.received_at, {kept}
        FROM {staging} staged
        JOIN {target} stored ON {same}
        WHERE staged.received_at <> stored.received_at
        ORDER BY {key}
        FOR UPDATE OF stored
        """
    ).format(
        first=pgsql.Identifier(key[0]),
        kept=column_list([kept], "stored."),
        staging=pgsql.Identifier(staging),
        target=pgsql.Identifier(schema, table),
        same=_same_key(key),
        key=column_list(key, "stored."),
    )


def replace_older_rows(
    staging: str, schema: str, table: str, columns: Sequence[str], all_columns: Iterable[str]
) -> Composed:
    """Replace each stored row that is older than the staged row with its key."""
    key = key_columns(table)
    staged = [name for name in columns if name not in key]
    missing = [name for name in all_columns if name not in {*columns, "uuid_ts"}]
    changes = [SQL("{0} = staged.{0}").format(SQL(quoted(name))) for name in staged]
    changes += [SQL("{} = NULL").format(pgsql.Identifier(name)) for name in missing]
    return SQL(
        """
        UPDATE {target} AS stored
        SET {changes}, uuid_ts = transaction_timestamp()
            + staged.position * interval '1 microsecond'
        FROM (
            SELECT *, row_number() OVER (ORDER BY ctid) AS position
            FROM {staging}
        ) AS staged
        WHERE {same} AND staged.received_at > stored.received_at
        """
    ).format(
        target=pgsql.Identifier(schema, table),
        changes=SQL(", ").join(changes),
        staging=pgsql.Identifier(staging),
        same=_same_key(key),
    )


def delete_discards(schema: str) -> Composed:
    return SQL("DELETE FROM {} WHERE table_name = %s AND row_id = ANY (%s)").format(
        pgsql.Identifier(schema, "rudder_discards")
    )


def _same_key(key: Iterable[str]) -> Composed:
    return SQL(" AND ").join(
        SQL("stored.{0} = staged.{0}").format(pgsql.Identifier(name)) for name in key
    )
