"""The warehouse's statements: builders that return Composed and run nothing."""

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
"""Types of the catalogue as ours; narrow.py knows some others, and the rest take no value."""

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
"""Of each relation: its kind, the columns of each unique key, and each column's name, type,
whether it can be written, and whether it must be."""


def key_of(table: str) -> tuple[str, ...]:
    return KEYS.get(table, ("id",))


@lru_cache(maxsize=8192)
def _quoted(name: str) -> str:
    return pgsql.Identifier(name).as_string()


def names(columns: Iterable[str], prefix: str = "") -> SQL:
    """The columns in quotes with commas between; lists of hundreds are made in every load."""
    text = ", ".join([f"{prefix}{_quoted(name)}" for name in columns])
    return SQL(text)


def create_schema(schema: str) -> Composed:
    return SQL("CREATE SCHEMA IF NOT EXISTS {}").format(pgsql.Identifier(schema))


def create_table(schema: str, table: str, columns: Mapping[str, str]) -> list[Composed]:
    """The table with its primary key, and its indexes."""
    key = key_of(table)
    definitions = [
        SQL("{} {}").format(pgsql.Identifier(name), TYPES[kind]) for name, kind in columns.items()
    ]
    definitions.append(SQL("PRIMARY KEY ({})").format(names(key)))
    target = pgsql.Identifier(schema, table)
    statements = [SQL("CREATE TABLE {} ({})").format(target, SQL(", ").join(definitions))]
    if "received_at" in columns and key == ("id",):
        statements.append(SQL("CREATE INDEX ON {} USING brin (received_at)").format(target))
    if PROFILE_COLUMN in columns:
        index = SQL("CREATE INDEX ON {} ({})").format(target, pgsql.Identifier(PROFILE_COLUMN))
        statements.append(index)
    if table == "identifies":
        statements.append(_index_of_users(target))
    return statements


def comment(schema: str, table: str, text: str | None, columns: Mapping[str, str]) -> Composed:
    """The words for the columns, and for the table unless there are none; many statements."""
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
    """What a table made by somebody else lacks: the unique index, and that of the users."""
    target = pgsql.Identifier(schema, table)
    statements = [SQL("CREATE UNIQUE INDEX ON {} ({})").format(target, names(key_of(table)))]
    if table == "identifies":
        statements.append(_index_of_users(target))
    return statements


def _index_of_users(target: pgsql.Identifier) -> Composed:
    """By which the earlier identifies of a user are found when they come out of order."""
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


def count_up_to(schema: str, table: str) -> Composed:
    """Counts the table's rows, but no further than a limit."""
    return SQL("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT %s) AS counted").format(
        pgsql.Identifier(schema, table)
    )


def create_staging(staging: str, schema: str, table: str, columns: Sequence[str]) -> Composed:
    return SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
        pgsql.Identifier(staging), names(columns), pgsql.Identifier(schema, table)
    )


def create_users_staging(staging: str, schema: str, columns: Sequence[str]) -> Composed:
    return SQL(
        """
        CREATE TEMP TABLE {} ON COMMIT DROP AS
        SELECT {}, received_at AS rudder_oldest
        FROM {}
        WITH NO DATA
        """
    ).format(pgsql.Identifier(staging), names(columns), pgsql.Identifier(schema, "users"))


def copy_staging(staging: str, columns: Sequence[str]) -> Composed:
    return SQL("COPY {} ({}) FROM STDIN").format(pgsql.Identifier(staging), names(columns))


def copy_rows(schema: str, table: str, columns: Sequence[str]) -> Composed:
    return SQL("COPY {} ({}, uuid_ts) FROM STDIN").format(
        pgsql.Identifier(schema, table), names(columns)
    )


def insert_staged(staging: str, schema: str, table: str, columns: Sequence[str]) -> Composed:
    """Insert the staged rows whose key is new."""
    return SQL(
        """
        INSERT INTO {target} ({columns}, uuid_ts)
        SELECT {columns}, transaction_timestamp()
        FROM {staging}
        ON CONFLICT ({key}) DO NOTHING
        """
    ).format(
        target=pgsql.Identifier(schema, table),
        columns=names(columns),
        staging=pgsql.Identifier(staging),
        key=names(key_of(table)),
    )


def insert_identifies(staging: str, schema: str, columns: Sequence[str]) -> Composed:
    """As insert_staged(), but uuid_ts keeps the order of the rows; gives the ids that were new."""
    return SQL(
        """
        INSERT INTO {target} ({columns}, uuid_ts)
        SELECT {columns}, transaction_timestamp()
            + row_number() OVER (ORDER BY ctid) * interval '1 microsecond'
        FROM {staging}
        ON CONFLICT (id) DO NOTHING
        RETURNING id
        """
    ).format(
        target=pgsql.Identifier(schema, "identifies"),
        columns=names(columns),
        staging=pgsql.Identifier(staging),
    )


def staged_again(staging: str, schema: str, table: str, kept: Sequence[str]) -> Composed:
    """Locks the stored rows whose key is staged with another time; says which is newer.

    Gives the staged row's position, whether it is newer, and the `kept` columns as stored.
    """
    key = key_of(table)
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
        kept=names(kept, "stored."),
        staging=pgsql.Identifier(staging),
        target=pgsql.Identifier(schema, table),
        same=_same(key),
        key=names(key, "stored."),
    )


def replace_staged(
    staging: str, schema: str, table: str, columns: Sequence[str], all_columns: Iterable[str]
) -> Composed:
    """Of two rows with one key the one received later stays, whole."""
    key = key_of(table)
    staged = [name for name in columns if name not in key]
    missing = [name for name in all_columns if name not in {*columns, "uuid_ts"}]
    changes = [SQL("{0} = staged.{0}").format(SQL(_quoted(name))) for name in staged]
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
        same=_same(key),
    )


def forget_discards(schema: str) -> Composed:
    """Discards of rows that have been replaced."""
    return SQL(
        """
        DELETE FROM {}
        WHERE table_name = %s AND row_id = ANY (%s)
        """
    ).format(pgsql.Identifier(schema, "rudder_discards"))


def count_discards(schema: str) -> Composed:
    return SQL(
        """
        SELECT table_name, column_name, count(*), mode() WITHIN GROUP (ORDER BY reason)
        FROM {}
        GROUP BY table_name, column_name
        ORDER BY table_name, column_name
        """
    ).format(pgsql.Identifier(schema, "rudder_discards"))


def discards_after(schema: str) -> Composed:
    """A page of a column's discards, locked."""
    return SQL(
        """
        SELECT row_id, column_value, reason, received_at
        FROM {}
        WHERE table_name = %s AND column_name = %s AND row_id > %s
        ORDER BY row_id
        LIMIT %s
        FOR UPDATE
        """
    ).format(pgsql.Identifier(schema, "rudder_discards"))


def apply_discards(schema: str, table: str, column: str, kind: str, keep: str) -> Composed:
    """Set the values in the rows that they were discarded from; gives their ids and `keep`."""
    return SQL(
        """
        UPDATE {target} AS stored
        SET {column} = discarded.value::{type}
        FROM unnest(%s::text[], %s::text[], %s::timestamptz[])
            AS discarded (id, value, received_at)
        WHERE stored.id = discarded.id
            AND stored.received_at = discarded.received_at
            AND stored.{column} IS NULL
        RETURNING stored.id, stored.{keep}
        """
    ).format(
        target=pgsql.Identifier(schema, table),
        column=pgsql.Identifier(column),
        type=TYPES.get(kind) or SQL(kind),
        keep=pgsql.Identifier(keep),
    )


def forget_column(schema: str) -> Composed:
    """Discards that have been applied."""
    return SQL(
        """
        DELETE FROM {}
        WHERE table_name = %s AND column_name = %s AND row_id = ANY (%s)
        """
    ).format(pgsql.Identifier(schema, "rudder_discards"))


def insert_users(staging: str, schema: str, columns: Sequence[str]) -> Composed:
    """Insert the staged users that are new; gives their ids."""
    return SQL(
        """
        INSERT INTO {target} ({columns}, uuid_ts)
        SELECT {columns}, transaction_timestamp()
        FROM {staging}
        ORDER BY id
        ON CONFLICT (id) DO NOTHING
        RETURNING id
        """
    ).format(
        target=pgsql.Identifier(schema, "users"),
        columns=names(columns),
        staging=pgsql.Identifier(staging),
    )


def identified_before(schema: str) -> Composed:
    """Which of these users have identifies from before a time of loading."""
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
    """Locks users in the order that every load does."""
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
    """Write what later identifies say of the users; gives the ids of those it was right for."""
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
        changes=SQL(", ").join(_completed(name) for name in columns if name != "id"),
    )


def _completed(name: str) -> Composed:
    if name == "rudder_extra":
        text = "{0} = coalesce(stored.{0} || staged.{0}, staged.{0}, stored.{0})"
    else:
        text = "{0} = coalesce(staged.{0}, stored.{0})"
    return SQL(text).format(SQL(_quoted(name)))


def add_bare_users(schema: str) -> Composed:
    """Rows to lock for users that may have none."""
    return SQL(
        """
        INSERT INTO {} (id)
        SELECT id
        FROM unnest(%s::text[]) AS wanted (id)
        ORDER BY id
        ON CONFLICT (id) DO NOTHING
        """
    ).format(pgsql.Identifier(schema, "users"))


_FILLED = """CASE
    WHEN latest.received_at >= stored.received_at THEN coalesce(latest.{0}, stored.{0})
    ELSE coalesce(stored.{0}, latest.{0})
END"""


def recompute_users(schema: str, columns: Sequence[str], *, fill: bool) -> Composed:
    """Set users to the latest non-null values of all their identifies.

    With `fill` a stored value stays where the identifies have none any more, and all do when the
    user's newest identify is gone.
    """
    keep = SQL(_FILLED if fill else "latest.{0}")
    quoted = [SQL(_quoted(name)) for name in columns]
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
        changes=SQL(", ").join(SQL("{} = {}").format(name, keep.format(name)) for name in quoted),
        latest=SQL(", ").join(map(_latest, columns)),
    )


def _latest(column: str) -> Composed:
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


def drop_users_of_nobody(schema: str) -> Composed:
    """Users, of these, whose identifies have all gone to others."""
    return SQL(
        """
        DELETE FROM {users} AS stored
        WHERE stored.id = ANY (%s)
            AND NOT EXISTS (SELECT FROM {identifies} i WHERE i.user_id = stored.id)
        """
    ).format(
        users=pgsql.Identifier(schema, "users"), identifies=pgsql.Identifier(schema, "identifies")
    )


def cursor_position(schema: str) -> Composed:
    return SQL("SELECT position FROM {} WHERE connection_id = %s").format(
        pgsql.Identifier(schema, "rudder_cursors")
    )


def cursor_counts(schema: str) -> Composed:
    return SQL(
        """
        SELECT position, loaded, skipped, dead_letters
        FROM {}
        WHERE connection_id = %s
        """
    ).format(pgsql.Identifier(schema, "rudder_cursors"))


def start_cursor(schema: str) -> Composed:
    return SQL(
        """
        INSERT INTO {} (connection_id, position)
        VALUES (%s, %s)
        ON CONFLICT (connection_id) DO NOTHING
        """
    ).format(pgsql.Identifier(schema, "rudder_cursors"))


def move_cursor(schema: str) -> Composed:
    """Moves the cursor and adds to the ledger's counts; gives the transaction's time.

    No row comes back when the cursor is not where we read it.
    """
    return SQL(
        """
        UPDATE {}
        SET position = %(upto)s,
            loaded = loaded + %(loaded)s,
            skipped = skipped + %(skipped)s,
            dead_letters = dead_letters + %(dead_letters)s,
            updated_at = transaction_timestamp()
        WHERE connection_id = %(connection_id)s AND position = %(after)s
        RETURNING transaction_timestamp()
        """
    ).format(pgsql.Identifier(schema, "rudder_cursors"))


def schema_lock(schema: str) -> Composed:
    """Held by whoever changes the tables of a namespace, until the transaction ends."""
    return SQL("SELECT pg_advisory_xact_lock(hashtextextended({}, 0))").format(
        Literal(f"rudderhub schema {schema}")
    )


def _same(key: Iterable[str]) -> Composed:
    return SQL(" AND ").join(
        SQL("stored.{0} = staged.{0}").format(pgsql.Identifier(name)) for name in key
    )
