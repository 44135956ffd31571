"""Statements that read, create and change tables, and the spelling of names and types in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed, Literal

from destinations.warehouse.rows.schema import PROFILE_COLUMN

TYPES = {
    "int": SQL("bigint"),
    "float": SQL("numeric"),
    "string": SQL("text"),
    "datetime": SQL("timestamptz"),
    "boolean": SQL("boolean"),
    "json": SQL("jsonb"),
    "uuid": SQL("uuid"),
}
READ_AS = {
    "bigint": "int",
    "numeric": "float",
    "double precision": "float",
    "real": "float",
    "text": "string",
    "character varying": "string",
    "timestamp with time zone": "datetime",
    "boolean": "boolean",
    "jsonb": "json",
    "uuid": "uuid",
}
"""Our type for a type of the catalogue. narrow_types has others; the rest take no value."""

KEYS = {"rudder_discards": ("row_id", "table_name", "column_name")}

RELATIONS = """
SELECT c.relname, c.relkind::text, k.keys, a.columns
FROM pg_class c
CROSS JOIN LATERAL (
    SELECT coalesce(json_agg(names), '[]') AS keys
    FROM (
        SELECT (
            SELECT json_agg(k.attname ORDER BY k.attname)
            FROM pg_attribute k
            WHERE k.attrelid = c.oid AND k.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
        ) AS names
        FROM pg_index i
        WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid
            AND i.indpred IS NULL AND i.indexprs IS NULL
    ) AS named
) AS k
CROSS JOIN LATERAL (
    SELECT json_agg(
        json_build_array(
            a.attname,
            format_type(a.atttypid, a.atttypmod),
            a.attgenerated = '' AND a.attidentity <> 'a',
            a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''
        ) ORDER BY a.attnum
    ) AS columns
    FROM pg_attribute a
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS a
WHERE c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = %s)
    AND c.relname = ANY (%s)
"""
"""Relations with their kind, the columns of each unique key, and all columns.

A column has a name, a type, whether it can be written, and whether it requires a value.
"""


def key_columns(table: str) -> tuple[str, ...]:
    return KEYS.get(table, ("id",))


@lru_cache(maxsize=8192)
def quoted(name: str) -> str:
    return pgsql.Identifier(name).as_string()


def column_list(columns: Iterable[str], prefix: str = "") -> SQL:
    """The columns in quotes, separated by commas. Cached, as every load needs lists of hundreds."""
    text = ", ".join([f"{prefix}{quoted(name)}" for name in columns])
    return SQL(text)


def create_schema(schema: str) -> Composed:
    return SQL("CREATE SCHEMA IF NOT EXISTS {}").format(pgsql.Identifier(schema))


def create_table(schema: str, table: str, columns: Mapping[str, str]) -> list[Composed]:
    """Statements that create a table with its primary key and indexes."""
    key = key_columns(table)
    definitions = [
        SQL("{} {}").format(pgsql.Identifier(name), TYPES[kind]) for name, kind in columns.items()
    ]
    definitions.append(SQL("PRIMARY KEY ({})").format(column_list(key)))
    target = pgsql.Identifier(schema, table)
    statements = [SQL("CREATE TABLE {} ({})").format(target, SQL(", ").join(definitions))]
    if "received_at" in columns and key == ("id",):
        statements.append(SQL("CREATE INDEX ON {} USING brin (received_at)").format(target))
    if PROFILE_COLUMN in columns:
        index = SQL("CREATE INDEX ON {} ({})").format(target, pgsql.Identifier(PROFILE_COLUMN))
        statements.append(index)
    if table == "identifies":
        statements.append(_create_user_index(target))
    return statements


def comment_on_columns(
    schema: str, table: str, text: str | None, columns: Mapping[str, str]
) -> Composed:
    """Statements in one text that comment on columns, and on the table if it has a text."""
    target = pgsql.Identifier(schema, table)
    statements = [
        SQL("COMMENT ON COLUMN {} IS {}").format(
            pgsql.Identifier(schema, table, name), Literal(words)
        )
        for name, words in columns.items()
    ]
    if text is not None:
        statements.append(SQL("COMMENT ON TABLE {} IS {}").format(target, Literal(text)))
    return SQL("; ").join(statements)


def create_key(schema: str, table: str) -> list[Composed]:
    """Statements that create the indexes a table of somebody else may lack."""
    target = pgsql.Identifier(schema, table)
    statements = [
        SQL("CREATE UNIQUE INDEX ON {} ({})").format(target, column_list(key_columns(table)))
    ]
    if table == "identifies":
        statements.append(_create_user_index(target))
    return statements


def _create_user_index(target: pgsql.Identifier) -> Composed:
    """An index that finds the identifies of a user when they arrive out of order."""
    return SQL("CREATE INDEX ON {} (user_id)").format(target)


def add_columns(schema: str, table: str, columns: Mapping[str, str]) -> Composed:
    added = SQL(", ").join(
        SQL("ADD COLUMN IF NOT EXISTS {} {}").format(pgsql.Identifier(name), TYPES[kind])
        for name, kind in columns.items()
    )
    return SQL("ALTER TABLE {} {}").format(pgsql.Identifier(schema, table), added)


def widen_columns(schema: str, table: str, columns: Sequence[str]) -> Composed:
    changed = SQL(", ").join(
        SQL("ALTER COLUMN {} TYPE numeric").format(pgsql.Identifier(name)) for name in columns
    )
    return SQL("ALTER TABLE {} {}").format(pgsql.Identifier(schema, table), changed)


def count_rows_up_to(schema: str, table: str) -> Composed:
    return SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT %s) AS counted").format(
        pgsql.Identifier(schema, table)
    )


def lock_namespace(schema: str) -> Composed:
    """Lock for changes of a namespace's tables, until the transaction ends."""
    return SQL("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))").format(
        Literal(f"rudderhub schema {schema}")
    )
