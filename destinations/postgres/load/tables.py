"""A namespace's tables as a session knows them, and the columns that loads add to them.

Each table is changed in a transaction of its own under the namespace's lock. Loads of one namespace
so take turns, and no load holds one table while it waits for the next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import errors

from destinations.postgres import resolved_views
from destinations.postgres.connection import Conn, one_line
from destinations.postgres.load import table_sql
from destinations.warehouse.rows.comments import column_comments, table_comment
from destinations.warehouse.rows.reserved_names import SYSTEM_TABLES
from destinations.warehouse.rows.schema import (
    DISCARDS,
    EXTRA_COLUMN,
    PROFILE_COLUMN,
    TablePlan,
    table_plan,
)
from destinations.warehouse.rows.transform import MAX_COLUMNS

logger = logging.getLogger(__name__)

COLUMNS_A_STATEMENT = 100
LOADER_COLUMNS: Mapping[str, str] = {"uuid_ts": "datetime", PROFILE_COLUMN: "uuid"}
PERSON_COLUMNS: Mapping[str, str] = {"anonymous_id": "string", "user_id": "string"}
GENERATED = "generated"
"""The type of columns that the server fills and that take no value."""
TABLE_KINDS = ("r", "p")
RELATION_KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "i": "an index",
    "I": "an index",
    "S": "a sequence",
    "c": "a type",
}
NAMESPACE_ERRORS = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.InsufficientPrivilege,
)
"""Errors that concern the whole namespace, or a table that was dropped meanwhile."""


class TableRefusedError(Exception):
    """A table that cannot be loaded until somebody changes it by hand."""

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(reason)
        self.table = table


@dataclass(frozen=True)
class TableState:
    """A table as the catalogue has it. Without a key, rows could be inserted twice."""

    columns: dict[str, str]
    has_key: bool
    required_columns: tuple[str, ...] = ()
    """Columns that require a value."""


class Namespace:
    """The tables of one schema, as far as this session has read them."""

    def __init__(
        self,
        conn: Conn,
        schema: str,
        identity_schema: str = "",
        budget: int = MAX_COLUMNS,
        widen_rows: int = 0,
    ) -> None:
        self._conn = conn
        self.schema = schema
        self._identity_schema = identity_schema
        self._budget = budget
        self._widen_rows = widen_rows
        self._tables: dict[str, TableState] = {}
        self._columns: dict[str, list[str]] = {}
        self._others: dict[str, str] = {}
        self.warnings: list[str] = []
        self.added: dict[str, list[str]] = {}
        """Columns added by table since the last load began; an empty list for a new table."""

    def forget_tables(self) -> None:
        """Read the tables again when they are next needed."""
        self._tables.clear()
        self._others.clear()

    def columns(self, table: str) -> dict[str, str]:
        return self._tables[table].columns

    def has_table(self, table: str) -> bool:
        return table in self._tables

    def read_tables(self, tables: Iterable[str]) -> None:
        """Read the tables that are not known yet, in one query."""
        unknown = [name for name in tables if name not in self._tables]
        if unknown:
            self._reread_tables(*unknown)

    def ensure_columns(self, table: str, wanted: Mapping[str, str]) -> None:
        """Create the table or its missing columns; past its budget, the column for further values.

        Raises TableRefusedError when the table cannot be loaded.
        """
        self.read_tables([table])
        needed = {**wanted, **({} if table == DISCARDS else LOADER_COLUMNS)}
        has_persons = table == "identifies" or needed.keys() & PERSON_COLUMNS.keys()
        if has_persons and table != "users":
            needed.update(PERSON_COLUMNS)
        if kind := self._others.get(table):
            raise self._refusal(table, f"is {kind}, so no table can be created with this name")
        if (
            self._table_plan(table, needed)
            or self._is_view_missing(table)
            or not self._tables[table].has_key
        ):
            self._change_table(table, needed)
        self._check_table(table)

    def _table_plan(self, table: str, needed: Mapping[str, str]) -> TablePlan:
        present = self._tables.get(table)
        budget = MAX_COLUMNS if table == DISCARDS else self._budget
        return table_plan(needed, present.columns if present else None, budget)

    def _is_view_missing(self, table: str) -> bool:
        view = f"{table}_resolved"
        return table in SYSTEM_TABLES and view not in self._others and view not in self._tables

    def _change_table(self, table: str, needed: Mapping[str, str]) -> None:
        """Change the table by a new plan, as another load may have changed it before the lock."""
        with self._conn.transaction():
            self._conn.execute(table_sql.lock_namespace(self.schema))
            self._reread_tables(table)
            changes = self._table_plan(table, needed)
            try:
                self._apply_plan(table, changes)
            except NAMESPACE_ERRORS:
                raise
            except (errors.ProgrammingError, errors.OperationalError) as error:
                if isinstance(error, errors.LockNotAvailable) or self._conn.closed:
                    raise
                text = f"{self._label(table)}: {one_line(error)}"
                raise TableRefusedError(table, text) from error
            self._reread_tables(table)
            if changes or self._is_view_missing(table):
                self._create_view(table)
        if changes.create:
            self.added[table] = []
        elif changes.add and self.added.get(table) != []:
            self.added[table] = [*self.added.get(table, ()), *changes.add]

    def _apply_plan(self, table: str, changes: TablePlan) -> None:
        schema = self.schema
        if changes.create:
            with self._conn.transaction():
                self._create_schema()
                for statement in table_sql.create_table(schema, table, changes.add):
                    self._conn.execute(statement)
        else:
            added = list(changes.add.items())
            for start in range(0, len(added), COLUMNS_A_STATEMENT):
                batch = dict(added[start : start + COLUMNS_A_STATEMENT])
                self._conn.execute(table_sql.add_columns(schema, table, batch))
            self._create_key(table)
        if changes.add:
            comments = column_comments(table, changes.add, datetime.now(UTC).date())
            text = table_comment(table) if changes.create else None
            self._conn.execute(table_sql.comment_on_columns(schema, table, text, comments))
        self._warn_of_budget(table, changes)
        if changes.widen:
            self._widen_columns(table, changes.widen)

    def _create_schema(self) -> None:
        present = self._conn.execute(
            "SELECT FROM pg_namespace WHERE nspname = %s", [self.schema]
        ).fetchone()
        if present is None:  # a user that may only create tables cannot create schemas
            self._conn.execute(table_sql.create_schema(self.schema))

    def _create_key(self, table: str) -> None:
        if self._tables[table].has_key:
            return
        try:
            with self._conn.transaction():
                for statement in table_sql.create_key(self.schema, table):
                    self._conn.execute(statement)
        except errors.UniqueViolation as error:
            key = ", ".join(table_sql.key_columns(table))
            text = f"has rows with the same {key}, which must be unique"
            raise self._refusal(table, text) from error

    def _warn_of_budget(self, table: str, changes: TablePlan) -> None:
        if EXTRA_COLUMN in changes.add:
            warning = (
                f"{self._label(table)} has reached its limit of {self._budget} columns; further "
                f"properties go to its column {EXTRA_COLUMN}"
            )
            logger.warning("%s", warning)
            self.warnings.append(warning)

    def _widen_columns(self, table: str, columns: Sequence[str]) -> None:
        """Widen columns of a small table, as Postgres rewrites it; else the values are discards."""
        row = self._conn.execute(
            table_sql.count_rows_up_to(self.schema, table), [self._widen_rows + 1]
        ).fetchone()
        if not row or row[0] > self._widen_rows:
            return
        try:
            with self._conn.transaction():
                resolved_views.drop_resolved_view(self._conn, self.schema, table)
                self._conn.execute(table_sql.widen_columns(self.schema, table, columns))
        except (errors.FeatureNotSupported, errors.DependentObjectsStillExist) as error:
            logger.warning("not widened: %s: %s", self._label(table), one_line(error))

    def _create_view(self, table: str) -> None:
        """Create the resolved view; loads go on without it if a view of the user depends on it."""
        try:
            with self._conn.transaction():
                resolved_views.create_resolved_view(
                    self._conn, self._identity_schema, self.schema, table, self._columns[table]
                )
        except (errors.DependentObjectsStillExist, errors.WrongObjectType) as error:
            logger.warning("view of %s not changed: %s", self._label(table), one_line(error))
        if table in SYSTEM_TABLES:
            self._others[f"{table}_resolved"] = RELATION_KINDS["v"]

    def _check_table(self, table: str) -> None:
        """Raise TableRefusedError for columns that would refuse every row."""
        state = self._tables[table]
        filled = {*table_sql.key_columns(table), "received_at", *LOADER_COLUMNS}
        if required := [name for name in state.required_columns if name not in filled]:
            names = ", ".join(required)
            raise self._refusal(table, f"requires a value in {names}, but events have none")
        ids = (*table_sql.key_columns(table), *(("user_id",) if table == "identifies" else ()))
        expected = dict.fromkeys(ids, "string") | {"received_at": "datetime"}
        for column, kind in expected.items():
            present = state.columns.get(column, "no type that can be written")
            if present != kind:
                text = f"column {column} of {self._label(table)} is {present}, expected {kind}"
                raise TableRefusedError(table, text)

    def _reread_tables(self, *names: str) -> None:
        with_views = [*names, *(f"{n}_resolved" for n in names if n in SYSTEM_TABLES)]
        for name in with_views:
            self._tables.pop(name, None)
            self._others.pop(name, None)
        for name, kind, keys, columns in self._conn.execute(
            table_sql.RELATIONS, [self.schema, with_views]
        ):
            if kind in TABLE_KINDS:
                self._columns[name] = [column for column, *_ in columns or ()]
                self._tables[name] = _table_state(name, keys, columns or ())
            else:
                self._others[name] = RELATION_KINDS.get(kind, "something else")

    def _refusal(self, table: str, reason: str) -> TableRefusedError:
        return TableRefusedError(table, f"{self._label(table)} {reason}")

    def _label(self, table: str) -> str:
        return f"{self.schema}.{table}"


def _table_state(name: str, keys: Sequence[list[str]], columns: Sequence[list[Any]]) -> TableState:
    return TableState(
        {
            column: table_sql.READ_AS.get(kind, kind) if writable else GENERATED
            for column, kind, writable, _ in columns
        },
        sorted(table_sql.key_columns(name)) in keys,
        tuple(column for column, _, writable, required in columns if required and writable),
    )
