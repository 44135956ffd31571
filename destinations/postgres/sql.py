"""The warehouse's statements: builders that return Composed and run nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from psycopg.sql import SQL, Composed, Identifier, Literal

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
    "integer": "int",
    "smallint": "int",
    "numeric": "float",
    "double precision": "float",
    "real": "float",
    "text": "string",
    "character varying": "string",
    "character": "string",
    "timestamp with time zone": "datetime",
    "boolean": "boolean",
    "jsonb": "json",
    "uuid": "uuid",
}
"""Types of information_schema as ours; a type not named here takes no event's value."""

KEYS = {"rudder_discards": ("row_id", "table_name", "column_name")}
PROFILE_COLUMN = "rudder_profile_id"

KNOWN_COLUMNS = """
SELECT table_name, column_name, data_type
FROM information_schema.columns
WHERE table_schema = %s
ORDER BY table_name, ordinal_position
"""


def key_of(table: str) -> tuple[str, ...]:
    return KEYS.get(table, ("id",))


def names(columns: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Identifier, columns))


def create_schema(schema: str) -> Composed:
    return SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema))


def create_table(schema: str, table: str, columns: Mapping[str, str]) -> list[Composed]:
    """The table with its primary key, and its indexes."""
    key = key_of(table)
    definitions = [
        SQL("{} {}").format(Identifier(name), TYPES[kind]) for name, kind in columns.items()
    ]
    definitions.append(SQL("PRIMARY KEY ({})").format(names(key)))
    target = Identifier(schema, table)
    statements = [
        SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(target, SQL(", ").join(definitions))
    ]
    if "received_at" in columns and key == ("id",):
        statements.append(SQL("CREATE INDEX ON {} USING brin (received_at)").format(target))
    if PROFILE_COLUMN in columns:
        index = SQL("CREATE INDEX ON {} ({})").format(target, Identifier(PROFILE_COLUMN))
        statements.append(index)
    return statements


def add_columns(schema: str, table: str, columns: Mapping[str, str]) -> Composed:
    added = SQL(", ").join(
        SQL("ADD COLUMN IF NOT EXISTS {} {}").format(Identifier(name), TYPES[kind])
        for name, kind in columns.items()
    )
    return SQL("ALTER TABLE {} {}").format(Identifier(schema, table), added)


def widen_columns(schema: str, table: str, columns: Sequence[str]) -> Composed:
    changed = SQL(", ").join(
        SQL("ALTER COLUMN {} TYPE numeric").format(Identifier(name)) for name in columns
    )
    return SQL("ALTER TABLE {} {}").format(Identifier(schema, table), changed)


def count_up_to(schema: str, table: str) -> Composed:
    """Counts the table's rows, but no further than a limit."""
    return SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT %s) AS counted").format(
        Identifier(schema, table)
    )


def create_staging(staging: str, schema: str, table: str, columns: Sequence[str]) -> Composed:
    return SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
        Identifier(staging), names(columns), Identifier(schema, table)
    )


def copy_staging(staging: str, columns: Sequence[str]) -> Composed:
    return SQL("COPY {} ({}) FROM STDIN").format(Identifier(staging), names(columns))


def insert_staged(
    staging: str, schema: str, table: str, columns: Sequence[str], all_columns: Sequence[str]
) -> Composed:
    """Insert the staged rows; of two rows with one key the one received later stays, whole."""
    key = key_of(table)
    return SQL(
        """
        INSERT INTO {target} AS stored ({columns}, uuid_ts)
        SELECT {columns}, transaction_timestamp()
        FROM {staging}
        ON CONFLICT ({key}) DO UPDATE
        SET {replaced}
        WHERE excluded.received_at > stored.received_at
        """
    ).format(
        target=Identifier(schema, table),
        columns=names(columns),
        staging=Identifier(staging),
        key=names(key),
        replaced=_replaced(name for name in all_columns if name not in key),
    )


def upsert_users(staging: str, schema: str, columns: Sequence[str]) -> Composed:
    """Insert or complete users: per column the later received_at's value, unless it is null."""
    return SQL(
        """
        INSERT INTO {target} AS stored ({columns}, uuid_ts)
        SELECT {columns}, transaction_timestamp()
        FROM {staging}
        ORDER BY id
        ON CONFLICT (id) DO UPDATE
        SET {merged}, uuid_ts = excluded.uuid_ts
        """
    ).format(
        target=Identifier(schema, "users"),
        columns=names(columns),
        staging=Identifier(staging),
        merged=SQL(", ").join(_latest(name) for name in columns if name != "id"),
    )


def cursor_position(schema: str) -> Composed:
    return SQL("SELECT position FROM {} WHERE connection_id = %s").format(
        Identifier(schema, "rudder_cursors")
    )


def start_cursor(schema: str) -> Composed:
    return SQL(
        """
        INSERT INTO {} (connection_id, position)
        VALUES (%s, %s)
        ON CONFLICT (connection_id) DO NOTHING
        """
    ).format(Identifier(schema, "rudder_cursors"))


def move_cursor(schema: str) -> Composed:
    """Moves the cursor and adds to the ledger's counts; no row when it is not where we read it."""
    return SQL(
        """
        UPDATE {}
        SET position = %(upto)s,
            loaded = loaded + %(loaded)s,
            skipped = skipped + %(skipped)s,
            dead_letters = dead_letters + %(dead_letters)s,
            updated_at = transaction_timestamp()
        WHERE connection_id = %(connection_id)s AND position = %(after)s
        """
    ).format(Identifier(schema, "rudder_cursors"))


def schema_lock(schema: str) -> Composed:
    """Held by whoever changes the tables of a namespace, until the transaction ends."""
    return SQL("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))").format(
        Literal(f"rudderhub schema {schema}")
    )


def _replaced(columns: Iterable[str]) -> Composed:
    return SQL(", ").join(SQL("{0} = excluded.{0}").format(Identifier(name)) for name in columns)


def _latest(column: str) -> Composed:
    if column == "received_at":
        return SQL("{0} = greatest(excluded.{0}, stored.{0})").format(Identifier(column))
    return SQL(
        """{0} = CASE WHEN excluded.received_at >= stored.received_at
        THEN coalesce(excluded.{0}, stored.{0})
        ELSE coalesce(stored.{0}, excluded.{0}) END"""
    ).format(Identifier(column))
