"""Erases identifiers from event rows: their own rows, and their values in the rows of others.

Temporary tables hold the erased identifiers, so that no statement grows with their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from uuid import UUID

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composable, Composed, Literal

from destinations.postgres import catalogue
from destinations.postgres.catalogue import CatalogTable
from destinations.postgres.operations.operation import Operation
from destinations.postgres.temp_tables import create_temp_table
from destinations.warehouse.identity.erasure import (
    DELETE,
    KEPT_COLUMNS,
    ErasedIdentifiers,
    column_id_type,
)
from destinations.warehouse.rows.schema import DISCARDS, PROFILE_COLUMN

ID_COLUMNS = ("user_id", "previous_id", "anonymous_id")
TEXTS = {"text", "character varying"}

STAMPED = SQL("t.rudder_profile_id IN (SELECT stamp FROM erased_stamps)")
UNSTAMPED = SQL("t.rudder_profile_id IS NULL")
REACHES = (STAMPED, UNSTAMPED)
ANY = SQL("true")

REACHABLE = """
SELECT
    (SELECT count(*) FROM {table} t WHERE {stamped}) > 0,
    EXISTS (SELECT FROM {table} t WHERE {unstamped})
"""

OWN_ROWS = """
{reach} AND (
    t.user_id::text IN (SELECT id_value FROM erased_values WHERE id_type = 'user_id')
    OR (
        t.anonymous_id::text IN (SELECT id_value FROM erased_values WHERE id_type = 'anonymous_id')
        AND NOT EXISTS (
            SELECT
            FROM {schema}.identity_node n
            WHERE n.node_key = {schema}.identity_key('user_id', t.user_id::text)
                AND NOT EXISTS (
                    SELECT FROM {schema}.identity_blocked b WHERE b.node_id = n.node_id
                )
        )
    )
)
"""

DELETE_OWN_ROWS = """
WITH gone AS ({change} WHERE {rows} RETURNING t.id::text AS id)
INSERT INTO erased_rows (schema_name, table_name, row_id)
SELECT {schema_name}, {table_name}, id FROM gone
"""

DELETE_USERS = """
DELETE FROM {table} t
WHERE t.id::text IN (SELECT id_value FROM erased_values WHERE id_type = 'user_id')
"""

DELETE_DISCARDS = """
DELETE FROM {table} t
WHERE t.column_value IN (SELECT id_value FROM erased_values)
    OR (t.table_name, t.row_id) IN (
        SELECT table_name, row_id FROM erased_rows WHERE schema_name = {schema_name}
    )
    OR (t.table_name = 'users' AND t.row_id IN (
        SELECT id_value FROM erased_values WHERE id_type = 'user_id'
    ))
"""

JSON_STRINGS = """
SELECT jsonb_path_query(t.{column}, 'strict $.** ? (@.type() == "string")')
UNION ALL
SELECT jsonb_path_query(t.{column}, 'strict $.** ? (@.type() == "object").keyvalue().key')
"""

COLUMNS_WITH_ERASED_VALUES = """
SELECT DISTINCT k.name
FROM {table} t
CROSS JOIN LATERAL ({texts}) k (name, held)
WHERE {reach} AND (k.held IN (SELECT id_value FROM erased_values)) IS TRUE
"""
"""IS TRUE forces a hash look-up, as a join might compare each row with each value."""

TEXT = '({name}, t.{column}::text COLLATE "C")'
TEXTS_OF_JSON = "SELECT {name}, s.held #>> '{{}}' FROM ({strings}) s (held)"

CLEAR_VALUES = "UPDATE {table} t SET {values} WHERE {reach} AND ({tests})"

HAS_ERASED_VALUE = "t.{column} IN (SELECT id_value FROM erased_values{of_type})"
JSON_HAS_ERASED_VALUE = """
(
    SELECT bool_or(s.held IN (SELECT to_jsonb(id_value) FROM erased_values))
    FROM ({strings}) s (held)
)
"""


def erase_rows(
    op: Operation, erased: ErasedIdentifiers, mode: str, stamps: Collection[UUID], *, is_known: bool
) -> Counter[str]:
    """Erase from all event tables; returns the number of rows by table.

    Values in other people's rows are found by the stamps of those rows. If a value is no stored
    identifier (not `is_known`), the ids of all rows are searched.
    """
    conn = op.graph.conn
    create_temp_table(
        conn, "erased_stamps", "stamp uuid PRIMARY KEY", ((stamp,) for stamp in set(stamps))
    )
    create_temp_table(conn, "erased_values", "id_type text, id_value text", erased.modes)
    create_temp_table(conn, "erased_rows", "schema_name text, table_name text, row_id text", ())
    return _RowErasure(op, mode, is_known).run()


class _RowErasure:
    def __init__(self, op: Operation, mode: str, is_known: bool) -> None:
        self._op = op
        self._mode = mode
        self._is_known = is_known
        self._counts: Counter[str] = Counter()

    def run(self) -> Counter[str]:
        tables = catalogue.tables(self._op.graph.conn, self._op.namespaces)
        for table in tables:
            if table.name == "users":
                self._counts[table.label] += self._changed_rows(DELETE_USERS, table=table.sql)
            if PROFILE_COLUMN in table.columns:
                self._erase_rows_of_people(table)
        for table in tables:
            if table.name == DISCARDS:
                schema_name = Literal(table.schema)
                self._counts[table.label] += self._changed_rows(
                    DELETE_DISCARDS, table=table.sql, schema_name=schema_name
                )
        return self._counts

    def _erase_rows_of_people(self, table: CatalogTable) -> None:
        for reach in self._reach_conditions(table):
            if table.columns.keys() >= {"user_id", "anonymous_id", "id"}:
                self._delete_own_rows(table, reach)
            self._clear_values(table, self._columns_with_erased_values(table, reach), reach)
        if not self._is_known or table.name == "aliases":
            ids = [name for name in ID_COLUMNS if table.columns.get(name) in TEXTS]
            self._clear_values(table, ids, ANY)

    def _reach_conditions(self, table: CatalogTable) -> list[SQL]:
        """The conditions that match rows of the table; such rows may be of the erased person."""
        text = SQL(REACHABLE).format(table=table.sql, stamped=STAMPED, unstamped=UNSTAMPED)
        row = self._op.graph.conn.execute(text).fetchall()[0]
        return [reach for reach, has_rows in zip(REACHES, row, strict=True) if has_rows]

    def _delete_own_rows(self, table: CatalogTable, reach: SQL) -> None:
        """Delete or empty the rows with an erased primary identifier."""
        if self._mode == DELETE:
            change = SQL("DELETE FROM {} t").format(table.sql)
        else:
            emptied = [name for name in table.columns if name not in KEPT_COLUMNS]
            values = SQL(", ").join(SQL("{} = NULL").format(pgsql.Identifier(n)) for n in emptied)
            change = SQL("UPDATE {} t SET {}").format(table.sql, values)
        self._counts[table.label] += self._changed_rows(
            DELETE_OWN_ROWS,
            change=change,
            rows=SQL(OWN_ROWS).format(reach=reach, schema=pgsql.Identifier(self._op.graph.schema)),
            schema_name=Literal(table.schema),
            table_name=Literal(table.name),
        )

    def _columns_with_erased_values(self, table: CatalogTable, reach: SQL) -> list[str]:
        """The columns that hold an erased value, usually few of hundreds."""
        texts = list(_text_queries(table))
        if not texts:
            return []
        text = SQL(COLUMNS_WITH_ERASED_VALUES).format(
            table=table.sql, texts=SQL(" UNION ALL ").join(texts), reach=reach
        )
        return [name for (name,) in self._op.graph.conn.execute(text)]

    def _clear_values(self, table: CatalogTable, names: Iterable[str], reach: SQL) -> None:
        """Clear erased values in rows that stay."""
        tests = {name: _erased_value_test(table, name) for name in names}
        if not tests:
            return
        values = (
            SQL("{0} = CASE WHEN {1} THEN NULL ELSE t.{0} END").format(pgsql.Identifier(name), test)
            for name, test in tests.items()
        )
        self._counts[f"{table.label} (values)"] += self._changed_rows(
            CLEAR_VALUES,
            table=table.sql,
            values=SQL(", ").join(values),
            reach=reach,
            tests=SQL(" OR ").join(tests.values()),
        )

    def _changed_rows(self, text: str, **parts: Composable) -> int:
        return self._op.graph.conn.execute(SQL(text).format(**parts)).rowcount


def _text_queries(table: CatalogTable) -> Iterator[Composed]:
    """Queries that give each text of a row with the name of its column."""
    kinds = {name: kind for name, kind in table.columns.items() if name not in KEPT_COLUMNS}
    texts = [
        SQL(TEXT).format(name=Literal(name), column=pgsql.Identifier(name))
        for name, kind in kinds.items()
        if kind in TEXTS
    ]
    if texts:
        yield SQL("VALUES {}").format(SQL(", ").join(texts))
    for name, kind in kinds.items():
        if kind == "jsonb":
            yield SQL(TEXTS_OF_JSON).format(name=Literal(name), strings=_json_strings(name))


def _erased_value_test(table: CatalogTable, name: str) -> Composed:
    if table.columns[name] == "jsonb":
        return SQL(JSON_HAS_ERASED_VALUE).format(strings=_json_strings(name))
    id_type = column_id_type(name)
    of_type = SQL(" WHERE id_type = {}").format(Literal(id_type)) if id_type else SQL("")
    return SQL(HAS_ERASED_VALUE).format(column=pgsql.Identifier(name), of_type=of_type)


def _json_strings(name: str) -> Composed:
    return SQL(JSON_STRINGS).format(column=pgsql.Identifier(name))
