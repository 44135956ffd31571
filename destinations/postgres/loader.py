"""Loads chunks into a warehouse: T1 resolves identities, T2 writes the rows and the cursor.

The only module that runs the statements of sql.py.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from destinations.interface import (
    Chunk,
    ChunkRefusedError,
    DestinationError,
    DestinationUnavailableError,
    Feed,
    LoadResult,
    Prepared,
)
from destinations.postgres import identity, sql, views
from destinations.postgres.config import PostgresConfig
from destinations.postgres.content import PROFILE_COLUMN, Content, prepare
from destinations.warehouse.identity import Rules
from destinations.warehouse.schema import (
    DISCARD_COLUMNS,
    DISCARDS,
    Tables,
    fitted,
    plan,
    wanted_columns,
)
from destinations.warehouse.transform import Options, Row

logger = logging.getLogger(__name__)

Conn = psycopg.Connection[tuple[Any, ...]]

OLDEST_VERSION = 15
COLUMNS_A_STATEMENT = 100
PERSON_COLUMNS = {"anonymous_id": "string", "user_id": "string"}
"""Both are there as soon as one is, so that no query fails before the first log-in."""
UNAVAILABLE = ("08", "53", "57", "58", "25006", "40001", "40P01", "55P03")
MISCONFIGURED = ("28", "3D", "42501", "42P10", "42809", "0A")
"""Beginnings of SQLSTATEs: come again later; someone has to change something first."""


def connect(config: PostgresConfig) -> Conn:
    """A connection in autocommit and READ COMMITTED to a server that can be loaded."""
    try:
        conn = psycopg.connect(config.conninfo(), autocommit=True, prepare_threshold=None)
    except psycopg.OperationalError as error:
        raise DestinationUnavailableError(_one_line(error)) from error
    try:
        _check(conn)
    except DestinationError:
        conn.close()
        raise
    return conn


def refresh_large_profiles(config: PostgresConfig) -> None:
    with connect(config) as conn, _translated():
        row = conn.execute(
            "SELECT to_regclass(%s)", [f'"{config.identity_schema}".identity_stale']
        ).fetchone()
        if row and row[0]:
            identity.refresh_marked(conn, config.identity_schema)


class PostgresSession:
    """A warehouse opened for one connection."""

    def __init__(self, config: PostgresConfig, options: Options, feed: Feed) -> None:
        self._config = config
        self._options = options
        self._feed = feed
        self._schema = config.identity_schema
        self._known: dict[str, dict[str, str]] = {}
        self._conn = connect(config)
        try:
            with _translated():
                identity.ensure_schema(self._conn, self._schema, feed.destination_id)
                self._rules = self._read_rules()
        except BaseException:
            self._conn.close()
            raise

    def _read_rules(self) -> Rules | None:
        if not self._config.resolve_identities:
            return None
        return identity.read_rules(self._conn, self._schema)

    def close(self) -> None:
        self._conn.close()

    def position(self) -> int | None:
        with _translated():
            row = self._conn.execute(
                sql.cursor_position(self._schema), [self._feed.connection_id]
            ).fetchone()
        return int(row[0]) if row else None

    def prepare(self, chunk: Chunk) -> Prepared:
        return prepare(chunk, self._feed, self._options, self._rules)

    def load(self, prepared: Prepared) -> LoadResult:
        with _translated(), identity.operator_lock_shared(self._conn, self._schema):
            content = prepared.content or Content()
            profiles = identity.resolve(self._conn, self._schema, content.statements)
            tables = content.tables(profiles)
            try:
                return self._write(prepared, tables)
            except psycopg.Error as error:
                if self._conn.closed or (error.sqlstate or "").startswith(UNAVAILABLE):
                    raise
                self._known.clear()  # it may be stale: somebody changed a table by hand
                return self._write(prepared, tables)

    def _write(self, prepared: Prepared, tables: Mapping[str, Sequence[Row]]) -> LoadResult:
        """T2, after the changes of tables that it needs: rows, discards and cursor, all or none."""
        wanted = self._evolve(tables)
        rows: dict[str, int] = {}
        discards: list[Row] = []
        with self._conn.transaction():
            self._move_cursor(prepared)
            for number, table in enumerate(sorted(tables)):
                columns = wanted[table]
                discards += self._write_table(f"staging_{number}", table, columns, tables[table])
                rows[table] = len(tables[table])
            if discards:
                newest = list({_discard_key(row): row for row in discards}.values())
                self._write_table("staging_discards", DISCARDS, DISCARD_COLUMNS, newest)
        return LoadResult(rows, len(discards))

    def _move_cursor(self, prepared: Prepared) -> None:
        chunk, connection_id = prepared.chunk, self._feed.connection_id
        self._conn.execute(sql.start_cursor(self._schema), [connection_id, chunk.after])
        moved = self._conn.execute(
            sql.move_cursor(self._schema),
            {
                "connection_id": connection_id,
                "after": chunk.after,
                "upto": chunk.upto,
                "loaded": prepared.loaded,
                "skipped": prepared.skipped.total(),
                "dead_letters": len(prepared.dead_letters),
            },
        )
        if moved.rowcount != 1:
            raise DestinationUnavailableError("the cursor was moved by another load")

    def _write_table(
        self, staging: str, table: str, wanted: Iterable[str], rows: Sequence[Row]
    ) -> list[Row]:
        """Stage and upsert the rows of a table; returns the values that did not fit."""
        known = self._known[table]
        columns = [name for name in wanted if name != "uuid_ts"]
        discards: list[Row] = []
        namespace = self._feed.namespace
        self._conn.execute(sql.create_staging(staging, namespace, table, columns))
        with self._conn.cursor().copy(sql.copy_staging(staging, columns)) as copy:
            for row in rows:
                values, misfits = fitted(row, known)
                discards += misfits
                copy.write_row(list(map(values.get, columns)))
        if table == "users":
            self._conn.execute(sql.upsert_users(staging, namespace, columns))
        else:
            insert = sql.insert_staged(staging, namespace, table, columns, list(known))
            self._conn.execute(insert)
        return discards

    def _evolve(self, tables: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, str]]:
        """Create and extend what the rows need; returns the columns that they need, by table."""
        if not self._known:
            self._read_known()
        wanted = wanted_columns(row for rows in tables.values() for row in rows)
        for columns in wanted.values():
            columns.update({"uuid_ts": "datetime", PROFILE_COLUMN: "uuid"})
            if columns.keys() & PERSON_COLUMNS.keys():
                columns.update(PERSON_COLUMNS)
        if "users" in wanted:
            shared = {n: kind for n, kind in wanted["identifies"].items() if n != "user_id"}
            wanted["users"] = shared | wanted["users"]
        needed = wanted | {DISCARDS: dict(DISCARD_COLUMNS)}
        if tables and (plan(needed, self._known) or self._without_view(needed)):
            self._change(needed)
        return wanted

    def _change(self, needed: Tables) -> None:
        """Plan again under the namespace's lock, since another load may have done it."""
        namespace = self._feed.namespace
        with self._conn.transaction():
            self._conn.execute(sql.schema_lock(namespace))
            self._conn.execute(sql.create_schema(namespace))
            self._read_known()
            changes = plan(needed, self._known)
            for table, columns in changes.create.items():
                for statement in sql.create_table(namespace, table, columns):
                    self._conn.execute(statement)
            for table, columns in changes.add.items():
                for batch in _batches(columns):
                    self._conn.execute(sql.add_columns(namespace, table, batch))
            for table, names in changes.widen.items():
                self._widen(table, names)
            self._read_known()
            for table in {
                *changes.create,
                *changes.add,
                *changes.widen,
                *self._without_view(needed),
            }:
                views.create_resolved_view(
                    self._conn, self._schema, namespace, table, list(self._known[table])
                )

    def _without_view(self, needed: Iterable[str]) -> list[str]:
        return [
            table
            for table in needed
            if table in views.RESOLVED_TABLES and f"{table}_resolved" not in self._known
        ]

    def _widen(self, table: str, names: Sequence[str]) -> None:
        """Only while the table is small, since it is written anew; else the values are discards."""
        namespace, limit = self._feed.namespace, self._config.widen_rows
        row = self._conn.execute(sql.count_up_to(namespace, table), [limit + 1]).fetchone()
        if row and row[0] <= limit:
            views.drop_resolved_view(self._conn, namespace, table)
            self._conn.execute(sql.widen_columns(namespace, table, names))

    def _read_known(self) -> None:
        self._known = {}
        for table, column, kind in self._conn.execute(sql.KNOWN_COLUMNS, [self._feed.namespace]):
            self._known.setdefault(table, {})[column] = str(sql.READ_AS.get(kind, kind))


def _check(conn: Conn) -> None:
    version = conn.info.server_version // 10_000
    if version < OLDEST_VERSION:
        raise DestinationError(f"the warehouse is PostgreSQL {version}, expected 15 or newer")
    encoding = conn.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise DestinationError(f"the warehouse's encoding is {encoding}, expected UTF8")


@contextmanager
def _translated() -> Iterator[None]:
    """The errors of psycopg as those of the interface, by what can be done about them."""
    try:
        yield
    except psycopg.Error as error:
        state = error.sqlstate or ""
        if not state or state.startswith(UNAVAILABLE):
            raise DestinationUnavailableError(_one_line(error)) from error
        if state.startswith(MISCONFIGURED):
            raise DestinationError(_one_line(error)) from error
        raise ChunkRefusedError(_one_line(error)) from error


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _discard_key(row: Row) -> tuple[str, str, str]:
    values = row.values
    return (values["row_id"], values["table_name"], values["column_name"])


def _batches(columns: Mapping[str, str]) -> Iterator[dict[str, str]]:
    items = list(columns.items())
    for start in range(0, len(items), COLUMNS_A_STATEMENT):
        yield dict(items[start : start + COLUMNS_A_STATEMENT])
