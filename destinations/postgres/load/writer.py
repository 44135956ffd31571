"""Writes a chunk's rows into their tables, inside the transaction that moves the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from destinations.postgres.connection import Conn
from destinations.postgres.load import row_sql, table_sql
from destinations.postgres.load.tables import GENERATED, Namespace
from destinations.warehouse.rows.schema import DISCARDS, RowFitter
from destinations.warehouse.rows.transform import Row

Values = Mapping[str, Any]

ORDER_STEP = timedelta(microseconds=1)


@dataclass
class WrittenRows:
    """The outcome for the rows of one table; a row that is stored already changes nothing."""

    count: int = 0
    values: list[Values] = field(default_factory=list)
    """The values that fit the columns, in the order of the rows."""
    discards: list[Row] = field(default_factory=list)
    new_ids: set[str] | None = None
    """The ids that were new; always set for identifies."""
    replaced: dict[str, Any] = field(default_factory=dict)
    """The ids with an older stored row; for identifies with the user of that row."""
    outdated: set[str] = field(default_factory=set)
    """The ids with a newer stored row."""

    @property
    def repeated(self) -> int:
        """The number of rows that have the key of a stored row."""
        return len(self.values) - (self.count - len(self.replaced))

    def stored_discards(self) -> list[Row]:
        """The discards of the rows that are stored now."""
        return [row for row in self.discards if row.values["row_id"] not in self.outdated]


class Writer:
    """Copies rows straight into their tables, or inserts them from staging tables.

    Nearly always all ids are new, and copying is fastest. It fails with UniqueViolation for a row
    that is stored, or that another load stores at the same time. Then the chunk has to be staged:
    ON CONFLICT waits for the other load.
    """

    def __init__(
        self, conn: Conn, namespace: Namespace, loaded_at: datetime, *, is_staged: bool = False
    ) -> None:
        self._conn = conn
        self._schema = namespace.schema
        self._namespace = namespace
        self.loaded_at = loaded_at
        self._is_staged = is_staged
        self._numbers = count()
        self.met_stored_rows = False
        """Whether a staged row had the key of a stored one."""

    def write(self, table: str, rows: Sequence[Row]) -> WrittenRows:
        """Write the rows; of two rows with one key the one received later stays as a whole."""
        written = WrittenRows()
        fitter = RowFitter(self._namespace.columns(table))
        for row in rows:
            values, discards = fitter.fit(row)
            written.values.append(values)
            written.discards += discards
        columns = self.used_columns(written.values, table)
        if self._is_staged or table == DISCARDS:
            self._insert_staged(table, columns, written)
        else:
            self._copy_rows(table, columns, written)
        return written

    def write_discards(self, discards: Iterable[Row]) -> None:
        """Write the discards; of two discards of one cell the one received later stays."""
        newest: dict[tuple[Any, ...], Row] = {}
        for row in discards:
            key = tuple(row.values[name] for name in table_sql.key_columns(DISCARDS))
            present = newest.get(key)
            if present is None or present.values["received_at"] < row.values["received_at"]:
                newest[key] = row
        if newest:
            self.write(DISCARDS, list(newest.values()))

    def used_columns(self, values: Iterable[Values], table: str) -> list[str]:
        """The columns with values and those of the key, in the order of the table."""
        used = set().union(*values, table_sql.key_columns(table)) - {"uuid_ts"}
        return [name for name in self._namespace.columns(table) if name in used]

    def stage(self, table: str, columns: Sequence[str], rows: Iterable[Values]) -> str:
        """Copy rows into a new staging table; returns its name."""
        staging = f"staging_{next(self._numbers)}"
        self._conn.execute(row_sql.create_staging_table(staging, self._schema, table, columns))
        with self._conn.cursor().copy(row_sql.copy_to_staging(staging, columns)) as copy:
            for values in rows:
                copy.write_row(list(map(values.get, columns)))
        return staging

    def _copy_rows(self, table: str, columns: Sequence[str], written: WrittenRows) -> None:
        """Copy into the table itself; uuid_ts keeps the order of identifies."""
        uuid_ts, step = self.loaded_at, ORDER_STEP if table == "identifies" else None
        with self._conn.cursor().copy(row_sql.copy_to_table(self._schema, table, columns)) as copy:
            for values in written.values:
                if step:
                    uuid_ts += step
                copy.write_row([*map(values.get, columns), uuid_ts])
        written.count = len(written.values)
        written.new_ids = {values["id"] for values in written.values}

    def _insert_staged(self, table: str, columns: Sequence[str], written: WrittenRows) -> None:
        staging = self.stage(table, columns, written.values)
        new = self._conn.execute(row_sql.insert_staged(staging, self._schema, table, columns))
        written.count = new.rowcount
        if table == "identifies":
            written.new_ids = {row_id for (row_id,) in new}
        if written.count < len(written.values):
            self.met_stored_rows = self.met_stored_rows or table != DISCARDS
            self._replace_older_rows(staging, table, columns, written)

    def _replace_older_rows(
        self, staging: str, table: str, columns: Sequence[str], written: WrittenRows
    ) -> None:
        """Replace stored rows that are older than the staged row with their key."""
        kept = "user_id" if table == "identifies" else table_sql.key_columns(table)[0]
        stored_rows = self._conn.execute(
            row_sql.lock_stored_rows(staging, self._schema, table, kept)
        )
        for row_id, is_newer, stored in stored_rows:
            if is_newer:
                written.replaced[row_id] = stored
            else:
                written.outdated.add(row_id)
        if not written.replaced:
            return
        kinds = self._namespace.columns(table)
        writable = [name for name, kind in kinds.items() if kind != GENERATED]
        replaced = self._conn.execute(
            row_sql.replace_older_rows(staging, self._schema, table, columns, writable)
        )
        written.count += replaced.rowcount
        if table != DISCARDS:
            rows = [table, list(written.replaced)]
            self._conn.execute(row_sql.delete_discards(self._schema), rows)
