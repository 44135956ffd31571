"""One chunk's rows into their tables, inside the transaction that moves the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from destinations.postgres.connection import Conn
from destinations.postgres.load import sql
from destinations.postgres.load.tables import GENERATED, Namespace
from destinations.warehouse.rows.schema import DISCARDS, Fitter
from destinations.warehouse.rows.transform import Row

Values = Mapping[str, Any]

ORDER_STEP = timedelta(microseconds=1)


@dataclass
class WrittenRows:
    """What became of the rows of one table, by their ids; equal ones changed nothing."""

    count: int = 0
    values: list[Values] = field(default_factory=list)
    """As the columns took them, in order."""
    discards: list[Row] = field(default_factory=list)
    fresh: set[str] | None = None
    """The ids that were new; always known for identifies."""
    replaced: dict[str, Any] = field(default_factory=dict)
    """The ids whose stored row was older, with the user of that row for identifies."""
    lost: set[str] = field(default_factory=set)
    """The ids whose stored row is newer."""

    @property
    def repeated(self) -> int:
        """How many were there before, in whatever state."""
        return len(self.values) - (self.count - len(self.replaced))

    def stored_discards(self) -> list[Row]:
        """The discards of the rows that are stored now."""
        return [row for row in self.discards if row.values["row_id"] not in self.lost]


class Writer:
    """Writes rows the fast way, or with care.

    Nearly always all ids are new: the rows are copied into the table at once. With one that is
    stored, or that another load stores just now, that fails with UniqueViolation, and the chunk
    is to be written with care: by way of a staging table, where ON CONFLICT waits for the other.
    """

    def __init__(
        self,
        conn: Conn,
        schema: str,
        namespace: Namespace,
        loaded_at: datetime,
        *,
        with_care: bool = False,
    ) -> None:
        self._conn = conn
        self._schema = schema
        self._namespace = namespace
        self.loaded_at = loaded_at
        self._with_care = with_care
        self._numbers = count()
        self.met_stored = False
        """Whether a row had the key of a stored one; never without care."""

    def write(self, table: str, rows: Sequence[Row]) -> WrittenRows:
        """Insert the rows; of two with one key the one received later stays, whole."""
        written = WrittenRows()
        fitter = Fitter(self._namespace.columns(table))
        for row in rows:
            values, discards = fitter.fit(row)
            written.values.append(values)
            written.discards += discards
        columns = self.columns_of(written.values, table)
        if self._with_care or table == DISCARDS:
            self._insert_all(table, columns, written)
        else:
            self._copy(table, columns, written)
        return written

    def write_discards(self, discards: Iterable[Row]) -> None:
        """Of two discards of one cell the one received later stays."""
        newest: dict[tuple[Any, ...], Row] = {}
        for row in discards:
            key = tuple(row.values[name] for name in sql.key_of(DISCARDS))
            known = newest.get(key)
            if known is None or known.values["received_at"] < row.values["received_at"]:
                newest[key] = row
        if newest:
            self.write(DISCARDS, list(newest.values()))

    def columns_of(self, values: Iterable[Values], table: str) -> list[str]:
        """The columns that have values; the key first, all in the order of the table."""
        used = set().union(*values, sql.key_of(table)) - {"uuid_ts"}
        return [name for name in self._namespace.columns(table) if name in used]

    def stage(self, table: str, columns: Sequence[str], rows: Iterable[Values]) -> str:
        staging = f"staging_{next(self._numbers)}"
        self._conn.execute(sql.create_staging(staging, self._schema, table, columns))
        with self._conn.cursor().copy(sql.copy_staging(staging, columns)) as copy:
            for values in rows:
                copy.write_row(list(map(values.get, columns)))
        return staging

    def _copy(self, table: str, columns: Sequence[str], written: WrittenRows) -> None:
        """Into the table itself; the uuid_ts of identifies keeps their order."""
        stamp, step = self.loaded_at, ORDER_STEP if table == "identifies" else None
        with self._conn.cursor().copy(sql.copy_rows(self._schema, table, columns)) as copy:
            for values in written.values:
                if step:
                    stamp += step
                copy.write_row([*map(values.get, columns), stamp])
        written.count = len(written.values)
        written.fresh = {values["id"] for values in written.values}

    def _insert_all(self, table: str, columns: Sequence[str], written: WrittenRows) -> None:
        staging = self.stage(table, columns, written.values)
        if table == "identifies":
            new = self._conn.execute(sql.insert_identifies(staging, self._schema, columns))
            written.fresh = {row_id for (row_id,) in new}
            written.count = len(written.fresh)
        else:
            new = self._conn.execute(sql.insert_staged(staging, self._schema, table, columns))
            written.count = new.rowcount
        if written.count < len(written.values):
            self.met_stored = self.met_stored or table != DISCARDS
            self._merge(staging, table, columns, written)

    def _merge(
        self, staging: str, table: str, columns: Sequence[str], written: WrittenRows
    ) -> None:
        """Replace the older of the stored rows that have the key of a staged one."""
        kept = "user_id" if table == "identifies" else sql.key_of(table)[0]
        again = self._conn.execute(sql.staged_again(staging, self._schema, table, [kept]))
        for row_id, is_newer, stored in again:
            if is_newer:
                written.replaced[row_id] = stored
            else:
                written.lost.add(row_id)
        if not written.replaced:
            return
        columns_known = self._namespace.columns(table).items()
        known = [name for name, kind in columns_known if kind != GENERATED]
        replaced = self._conn.execute(
            sql.replace_staged(staging, self._schema, table, columns, known)
        )
        written.count += replaced.rowcount
        if table != DISCARDS:
            forgotten = [table, list(written.replaced)]
            self._conn.execute(sql.forget_discards(self._schema), forgotten)
