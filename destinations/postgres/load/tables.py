"""A namespace's tables: what is known of them, and their growth with what the rows need.

Each table is changed in a transaction of its own under the namespace's lock, so that loads of the
same namespace change it one after another and none holds one table while it waits for the next.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import errors

from destinations.postgres import resolved_views
from destinations.postgres.connection import Conn, one_line
from destinations.postgres.load import sql
from destinations.warehouse.rows.comments import column_comments, table_comment
from destinations.warehouse.rows.dialect import MAX_COLUMNS
from destinations.warehouse.rows.reserved_names import SYSTEM_TABLES
from destinations.warehouse.rows.schema import (
    DISCARDS,
    EXTRA_COLUMN,
    PROFILE_COLUMN,
    TablePlan,
    plan,
)

logger = logging.getLogger(__name__)

COLUMNS_A_STATEMENT = 100
ALWAYS: Mapping[str, str] = {"uuid_ts": "datetime", PROFILE_COLUMN: "uuid"}
PERSON_COLUMNS: Mapping[str, str] = {"anonymous_id": "string", "user_id": "string"}
_OURS: Mapping[str, Mapping[str, str]] = {DISCARDS: {}}
GENERATED = "generated"
"""The type of columns that the server fills: they take no value."""
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


PASSED_ON = (
    errors.UndefinedTable,
    errors.UndefinedColumn,
    errors.InvalidSchemaName,
    errors.InsufficientPrivilege,
)
"""Something was dropped meanwhile, or it is a matter of the whole namespace."""


class TableRefusedError(Exception):
    """A table cannot be loaded until somebody changes it by hand; the others can."""

    def __init__(self, table: str, reason: str) -> None:
        super().__init__(reason)
        self.table = table


@dataclass(frozen=True)
class TableState:
    """A table as the catalogue has it; without a key nothing can be inserted once only."""

    columns: dict[str, str]
    has_key: bool
    demands: tuple[str, ...] = ()
    """Columns that must be given a value."""


class Namespace:
    """The tables of one schema, as this session knows them."""

    def __init__(
        self,
        conn: Conn,
        schema: str,
        identity_schema: str = "",
        budget: int = MAX_COLUMNS,
        widen_rows: int = 0,
    ) -> None:
        self._conn = conn
        self._schema = schema
        self._identity_schema = identity_schema
        self._budget = budget
        self._widen_rows = widen_rows
        self._tables: dict[str, TableState] = {}
        self._columns: dict[str, list[str]] = {}
        self._others: dict[str, str] = {}
        self.warnings: list[str] = []
        self.added: dict[str, list[str]] = {}
        """Columns made since it was emptied, by table; none for a table that is new itself."""

    def forget(self) -> None:
        """What is known may be stale: somebody changed a table by hand."""
        self._tables.clear()
        self._others.clear()

    def columns(self, table: str) -> dict[str, str]:
        return self._tables[table].columns

    def has(self, table: str) -> bool:
        return table in self._tables

    def read(self, tables: Iterable[str]) -> None:
        """Learn of those of the tables that are not known yet, in one query."""
        unknown = [name for name in tables if name not in self._tables]
        if unknown:
            self._read(*unknown)

    def grow(self, table: str, wanted: Mapping[str, str]) -> None:
        """Give the table the columns, or the column for what is over its budget.

        Raises TableRefusedError when something else is in the way.
        """
        self.read([table])
        needed = {**wanted, **_OURS.get(table, ALWAYS)}
        of_people = table == "identifies" or needed.keys() & PERSON_COLUMNS.keys()
        if of_people and table != "users":
            needed.update(PERSON_COLUMNS)
        self._refuse_others(table)
        if self._plan(table, needed) or self._lacks_view(table) or not self._tables[table].has_key:
            self._change(table, needed)
        self._check(table)

    def _refuse_others(self, table: str) -> None:
        if what := self._others.get(table):
            raise TableRefusedError(
                table, (f"{self._name(table)} is {what}, so no table can be created with this name")
            )

    def _plan(self, table: str, needed: Mapping[str, str]) -> TablePlan:
        known = self._tables.get(table)
        budget = MAX_COLUMNS if table == DISCARDS else self._budget
        return plan(needed, known.columns if known else None, budget)

    def _lacks_view(self, table: str) -> bool:
        view = f"{table}_resolved"
        return table in SYSTEM_TABLES and view not in self._others and view not in self._tables

    def _change(self, table: str, needed: Mapping[str, str]) -> None:
        """Plan again under the namespace's lock, since another load may have done it."""
        with self._conn.transaction():
            self._conn.execute(sql.schema_lock(self._schema))
            self._read(table)
            changes = self._plan(table, needed)
            try:
                self._apply(table, changes)
            except PASSED_ON:
                raise
            except (errors.ProgrammingError, errors.OperationalError) as error:
                if isinstance(error, errors.LockNotAvailable) or self._conn.closed:
                    raise
                raise TableRefusedError(table, f"{self._name(table)}: {one_line(error)}") from error
            self._read(table)
            if changes or self._lacks_view(table):
                self._make_view(table)
        self._note(table, changes)

    def _note(self, table: str, changes: TablePlan) -> None:
        if changes.create:
            self.added[table] = []
        elif changes.add and self.added.get(table) != []:
            self.added[table] = [*self.added.get(table, ()), *changes.add]

    def _apply(self, table: str, changes: TablePlan) -> None:
        schema = self._schema
        if changes.create:
            with self._conn.transaction():
                self._create_schema()
                for statement in sql.create_table(schema, table, changes.add):
                    self._conn.execute(statement)
        else:
            for batch in _batches(changes.add):
                self._conn.execute(sql.add_columns(schema, table, batch))
            self._make_key(table)
        self._comment(table, changes)
        self._warn_of_budget(table, changes)
        if changes.widen:
            self._widen(table, changes.widen)

    def _comment(self, table: str, changes: TablePlan) -> None:
        if changes.add:
            words = column_comments(table, changes.add, datetime.now(UTC).date())
            text = table_comment(table) if changes.create else None
            self._conn.execute(sql.comment(self._schema, table, text, words))

    def _create_schema(self) -> None:
        found = self._conn.execute(
            "SELECT FROM pg_namespace WHERE nspname = %s", [self._schema]
        ).fetchone()
        if found is None:  # who may create tables only need not be able to create schemas
            self._conn.execute(sql.create_schema(self._schema))

    def _make_key(self, table: str) -> None:
        if self._tables[table].has_key:
            return
        try:
            with self._conn.transaction():
                for statement in sql.create_key(self._schema, table):
                    self._conn.execute(statement)
        except errors.UniqueViolation as error:
            key = ", ".join(sql.key_of(table))
            raise TableRefusedError(
                table, f"{self._name(table)} has rows with the same {key}, which must be unique"
            ) from error

    def _warn_of_budget(self, table: str, changes: TablePlan) -> None:
        if EXTRA_COLUMN in changes.add:
            warning = (
                f"{self._name(table)} has reached its limit of {self._budget} columns; further "
                f"properties go to its column {EXTRA_COLUMN}"
            )
            logger.warning("%s", warning)
            self.warnings.append(warning)

    def _widen(self, table: str, columns: Sequence[str]) -> None:
        """Only while the table is small, since it is written anew; else the values are discards."""
        row = self._conn.execute(
            sql.count_up_to(self._schema, table), [self._widen_rows + 1]
        ).fetchone()
        if not row or row[0] > self._widen_rows:
            return
        try:
            with self._conn.transaction():
                resolved_views.drop_resolved_view(self._conn, self._schema, table)
                self._conn.execute(sql.widen_columns(self._schema, table, columns))
        except (errors.FeatureNotSupported, errors.DependentObjectsStillExist) as error:
            logger.warning("not widened: %s: %s", self._name(table), one_line(error))

    def _make_view(self, table: str) -> None:
        """The loads go on without a view that cannot be made: something of the user's uses it."""
        try:
            with self._conn.transaction():
                resolved_views.create_resolved_view(
                    self._conn, self._identity_schema, self._schema, table, self._columns[table]
                )
        except (errors.DependentObjectsStillExist, errors.WrongObjectType) as error:
            logger.warning("view of %s not changed: %s", self._name(table), one_line(error))
        if table in SYSTEM_TABLES:
            self._others[f"{table}_resolved"] = RELATION_KINDS["v"]

    def _check(self, table: str) -> None:
        """What would refuse every row, in words."""
        known = self._tables[table]
        always = {*sql.key_of(table), "received_at", *ALWAYS}
        if demands := [name for name in known.demands if name not in always]:
            raise TableRefusedError(
                table,
                f"{self._name(table)} requires a value in {', '.join(demands)}, but events have "
                "none",
            )
        ids = (*sql.key_of(table), *(("user_id",) if table == "identifies" else ()))
        expected = dict.fromkeys(ids, "string") | {"received_at": "datetime"}
        for column, kind in expected.items():
            if known.columns.get(column, "no type that can be written") != kind:
                raise TableRefusedError(
                    table,
                    f"column {column} of {self._name(table)} is "
                    f"{known.columns.get(column, 'no type that can be written')}, expected {kind}",
                )

    def _read(self, *names: str) -> None:
        with_views = [*names, *(f"{n}_resolved" for n in names if n in SYSTEM_TABLES)]
        for name in with_views:
            self._tables.pop(name, None)
            self._others.pop(name, None)
        for name, kind, keys, columns in self._conn.execute(
            sql.RELATIONS, [self._schema, with_views]
        ):
            if kind in TABLE_KINDS:
                self._columns[name] = [column for column, *_ in columns or ()]
                self._tables[name] = _table(name, keys, columns or ())
            else:
                self._others[name] = RELATION_KINDS.get(kind, "something else")

    def _name(self, table: str) -> str:
        return f"{self._schema}.{table}"


def _table(name: str, keys: Sequence[list[str]], columns: Sequence[list[Any]]) -> TableState:
    return TableState(
        {
            column: sql.READ_AS.get(kind, kind) if writable else GENERATED
            for column, kind, writable, _ in columns
        },
        sorted(sql.key_of(name)) in keys,
        tuple(column for column, _, writable, demanded in columns if demanded and writable),
    )


def _batches(columns: Mapping[str, str]) -> Iterator[dict[str, str]]:
    items = list(columns.items())
    for start in range(0, len(items), COLUMNS_A_STATEMENT):
        yield dict(items[start : start + COLUMNS_A_STATEMENT])
