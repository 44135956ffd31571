"""Loads chunks into a warehouse: T1 resolves identities, T2 writes the rows and the cursor."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container
from itertools import count

import psycopg

from destinations.interface import (
    Chunk,
    ChunkRefusedError,
    CursorCounts,
    DestinationError,
    Feed,
    LoadResult,
    PreparedChunk,
)
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import (
    Conn,
    connect,
    primary_message,
    table_exists,
    translated_errors,
)
from destinations.postgres.identity import graph_schema, profile_rows, resolve
from destinations.postgres.load import table_sql
from destinations.postgres.load.chunk_content import (
    ChunkContent,
    event_tables,
    prepare_chunk,
    prepared_content,
)
from destinations.postgres.load.cursor import Cursor
from destinations.postgres.load.tables import Namespace, TableRefusedError
from destinations.postgres.load.users import write_users
from destinations.postgres.load.writer import Writer, WrittenRows
from destinations.warehouse.identity.erasure import ERASED
from destinations.warehouse.identity.statements import Rules
from destinations.warehouse.rows.schema import DISCARD_COLUMNS, DISCARDS, wanted_columns
from destinations.warehouse.rows.transform import Options, Row
from destinations.warehouse.rows.users import user_columns

logger = logging.getLogger(__name__)

ATTEMPTS = {"40": 5, "42": 4, "3F": 4, "XX": 4, "22": 2, "23": 2, "0A": 2}
"""Attempts by class of SQLSTATE, for errors that other loads or changes by hand may cause."""


def refresh_large_profiles(config: PostgresConfig) -> None:
    """Write the rows of large profiles that loads only marked."""
    with connect(config) as conn, translated_errors():
        if table_exists(conn, config.identity_schema, "identity_stale"):
            profile_rows.refresh_marked(conn, config.identity_schema)


class PostgresSession:
    """A warehouse opened for one connection."""

    def __init__(
        self, conn: Conn, config: PostgresConfig, options: Options, feed: Feed, rules: Rules | None
    ) -> None:
        """The session closes conn. Without rules it resolves no identities."""
        self._options = options
        self._feed = feed
        self._expects_stored_rows = False
        self._schema = config.identity_schema
        self._conn = conn
        self._rules = rules
        self._cursor = Cursor(conn, self._schema, feed.connection_id)
        self._namespace = Namespace(
            conn, feed.namespace, self._schema, config.column_budget, config.widen_rows
        )

    def close(self) -> None:
        self._conn.close()

    def position(self) -> int | None:
        counts = self.counts()
        return counts.position if counts else None

    def counts(self) -> CursorCounts | None:
        with translated_errors():
            return self._cursor.counts()

    def prepare(self, chunk: Chunk) -> PreparedChunk:
        return prepare_chunk(chunk, self._feed, self._options, self._rules)

    def load(self, prepared: PreparedChunk) -> LoadResult:
        with translated_errors(), graph_schema.operator_lock_shared(self._conn, self._schema):
            for attempt in count(1):
                try:
                    return self._load(prepared)
                except psycopg.Error as error:
                    state = (error.sqlstate or "")[:2]
                    if self._conn.closed or attempt >= ATTEMPTS.get(state, 1):
                        raise
                    logger.info("the load is retried: %s", primary_message(error))
        raise AssertionError("the last attempt returns or raises")

    def _load(self, prepared: PreparedChunk) -> LoadResult:
        content = prepared_content(prepared)
        self._namespace.forget_tables()  # somebody may have changed one since the last chunk
        content.remove_erased(
            resolve.suppressed_identifiers(self._conn, self._schema, content.statements)
        )
        self._ensure_tables(prepared, content)  # first: a refused table leaves no identities behind
        warn = self._namespace.warnings.append
        content.set_profiles(
            resolve.resolve_statements(self._conn, self._schema, content.statements, warn)
        )
        return self._write_rows(prepared, content)

    def _ensure_tables(self, prepared: PreparedChunk, content: ChunkContent) -> None:
        """Create the tables and columns that the rows need, before the transaction of the rows."""
        self._namespace.warnings.clear()
        self._namespace.added.clear()
        if not content.rows:
            return
        try:
            self._namespace.read_tables([*content.rows, "users", DISCARDS])
            self._namespace.ensure_columns(DISCARDS, DISCARD_COLUMNS)
            for table in sorted(content.rows):
                self._namespace.ensure_columns(table, wanted_columns(content.distinct_types(table)))
            if any(row.is_user for row in content.rows.get("identifies", {}).values()):
                self._ensure_users_table()
        except TableRefusedError as error:
            raise self._refusal(error, prepared) from error

    def _ensure_users_table(self) -> None:
        """Give users the columns of identifies that have one of the loader's types."""
        columns = user_columns(self._namespace.columns("identifies"))
        own = {name: kind for name, kind in columns.items() if kind in table_sql.TYPES}
        self._namespace.ensure_columns("users", own)

    def _refusal(self, error: TableRefusedError, prepared: PreparedChunk) -> Exception:
        """The error for the events with rows in the table, or for all of them if it is discards."""
        if error.table == DISCARDS:
            return DestinationError(str(error))
        reasons = {
            event.id: str(error)
            for event in prepared.chunk.events
            if event.id not in prepared.dead_letter_ids
            and error.table in event_tables(event, self._feed, self._options)
        }
        return ChunkRefusedError(str(error), reasons)

    def _write_rows(self, prepared: PreparedChunk, content: ChunkContent) -> LoadResult:
        """Stage the rows only if one is stored already, or if the last chunk met stored rows."""
        if not self._expects_stored_rows:
            try:
                return self._write_transaction(prepared, content, is_staged=False)
            except psycopg.errors.UniqueViolation as error:
                logger.info("rows are staged: %s", primary_message(error))
        return self._write_transaction(prepared, content, is_staged=True)

    def _write_transaction(
        self, prepared: PreparedChunk, content: ChunkContent, *, is_staged: bool
    ) -> LoadResult:
        """T2: write rows, discards and cursor, all or none."""
        skipped = Counter(prepared.skipped)
        if content.erased_ids:
            skipped[ERASED] = len(content.erased_ids)
        dead_letters = len(prepared.dead_letters)
        loaded = len(prepared.chunk.events) - dead_letters - skipped.total()
        counts: dict[str, int] = {}
        repeated = Counter(content.repeated)
        discards: list[Row] = []
        with self._conn.transaction():
            loaded_at = self._cursor.move(
                prepared.chunk, loaded=loaded, skipped=skipped.total(), dead_letters=dead_letters
            )
            writer = Writer(self._conn, self._namespace, loaded_at, is_staged=is_staged)
            for table in sorted(content.rows):
                rows = [prepared_row.row for prepared_row in content.rows[table].values()]
                written = writer.write(table, rows)
                counts[table] = written.count
                repeated[table] += written.repeated
                discards += written.stored_discards()
                if table == "identifies" and self._namespace.has_table("users"):
                    users = self._write_users(writer, content, written)
                    counts["users"] = users.count
                    discards += users.discards
            writer.write_discards(discards)
        self._expects_stored_rows = writer.met_stored_rows
        return LoadResult(
            loaded=loaded,
            skipped=skipped,
            rows=counts,
            discards=len(discards),
            warnings=tuple(self._namespace.warnings),
            repeated=+repeated,
            discarded=Counter(row.values["table_name"] for row in discards),
            added=dict(self._namespace.added),
            rewritten=content.rewritten,
        )

    def _write_users(
        self, writer: Writer, content: ChunkContent, identifies: WrittenRows
    ) -> WrittenRows:
        user_rows = {row_id for row_id, row in content.rows["identifies"].items() if row.is_user}
        users = write_users(self._conn, self._namespace, writer, identifies, user_rows)
        users.discards += _users_discards(identifies, user_rows)
        return users


def _users_discards(identifies: WrittenRows, user_rows: Container[str]) -> list[Row]:
    """The discards of identifies under the ids of their users, which lack the values as well."""
    users = {
        values["id"]: values.get("user_id")
        for values in identifies.values
        if values["id"] in user_rows
    }
    return [
        discard._replace(values=discard.values | {"table_name": "users", "row_id": user})
        for discard in identifies.stored_discards()
        if (user := users.get(discard.values["row_id"])) is not None
    ]
