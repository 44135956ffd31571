"""Loads chunks into a warehouse: T1 resolves identities, T2 writes the rows and the cursor."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container
from datetime import datetime
from itertools import count

import psycopg

from destinations.interface import (
    Chunk,
    ChunkRefusedError,
    CursorCounts,
    DestinationError,
    DestinationUnavailableError,
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
from destinations.postgres.identity import resolve, schema
from destinations.postgres.load import sql
from destinations.postgres.load.chunk_content import (
    ChunkContent,
    event_tables,
    prepare_chunk,
    prepared_content,
)
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
"""By class of SQLSTATE: other loads, or changes of tables by hand, may be the cause and be over."""


def refresh_large_profiles(config: PostgresConfig) -> None:
    with connect(config) as conn, translated_errors():
        if table_exists(conn, config.identity_schema, "identity_stale"):
            resolve.refresh_marked(conn, config.identity_schema)


class PostgresSession:
    """A warehouse opened for one connection."""

    def __init__(
        self, conn: Conn, config: PostgresConfig, options: Options, feed: Feed, rules: Rules | None
    ) -> None:
        """The session closes conn; without rules it resolves no identities."""
        self._options = options
        self._feed = feed
        self._meets_stored = False
        self._schema = config.identity_schema
        self._conn = conn
        self._rules = rules
        self._namespace = Namespace(
            self._conn, feed.namespace, self._schema, config.column_budget, config.widen_rows
        )

    def close(self) -> None:
        self._conn.close()

    def position(self) -> int | None:
        with translated_errors():
            row = self._conn.execute(
                sql.cursor_position(self._schema), [self._feed.connection_id]
            ).fetchone()
        return int(row[0]) if row else None

    def counts(self) -> CursorCounts | None:
        with translated_errors():
            row = self._conn.execute(
                sql.cursor_counts(self._schema), [self._feed.connection_id]
            ).fetchone()
        return CursorCounts(*row) if row else None

    def prepare(self, chunk: Chunk) -> PreparedChunk:
        return prepare_chunk(chunk, self._feed, self._options, self._rules)

    def load(self, prepared: PreparedChunk) -> LoadResult:
        with translated_errors(), schema.operator_lock_shared(self._conn, self._schema):
            for attempt in count(1):
                try:
                    return self._load(prepared)
                except psycopg.Error as error:
                    state = (error.sqlstate or "")[:2]
                    if self._conn.closed or attempt >= ATTEMPTS.get(state, 1):
                        raise
                    logger.info("written again: %s", primary_message(error))
        raise AssertionError("the last attempt returns or raises")

    def _load(self, prepared: PreparedChunk) -> LoadResult:
        content = prepared_content(prepared)
        self._namespace.forget()  # somebody may have changed a table since the last chunk
        content.leave_out(resolve.suppressed(self._conn, self._schema, content.statements))
        self._grow(prepared, content)  # first: a refused table must not leave identities behind
        warn = self._namespace.warnings.append
        content.stamp(resolve.resolve(self._conn, self._schema, content.statements, warn))
        return self._write_new(prepared, content)

    def _grow(self, prepared: PreparedChunk, content: ChunkContent) -> None:
        """Have a place in the warehouse for every row, before the transaction that writes them."""
        self._namespace.warnings.clear()
        self._namespace.added.clear()
        if not content.rows:
            return
        try:
            self._namespace.read([*content.rows, "users", DISCARDS])
            self._namespace.grow(DISCARDS, DISCARD_COLUMNS)
            for table in sorted(content.rows):
                self._namespace.grow(table, wanted_columns(content.shapes_of(table)))
            if any(kept.is_user for kept in content.rows.get("identifies", {}).values()):
                self._grow_users()
        except TableRefusedError as error:
            raise self._without(error, prepared) from error

    def _grow_users(self) -> None:
        """As wide as identifies, with the types that its columns have."""
        columns = user_columns(self._namespace.columns("identifies"))
        ours = {name: kind for name, kind in columns.items() if kind in sql.TYPES}
        self._namespace.grow("users", ours)

    def _without(self, error: TableRefusedError, prepared: PreparedChunk) -> Exception:
        """The refusal of the events that have rows in the table, unless it is one of ours."""
        if error.table == DISCARDS:
            return DestinationError(str(error))
        reasons = {
            event.id: str(error)
            for event in prepared.chunk.events
            if event.id not in prepared.dead_letter_ids
            and error.table in event_tables(event, self._feed, self._options)
        }
        return ChunkRefusedError(str(error), reasons)

    def _write_new(self, prepared: PreparedChunk, content: ChunkContent) -> LoadResult:
        """With care only where a row is stored already, as were some of the last chunk."""
        if not self._meets_stored:
            try:
                return self._write(prepared, content, with_care=False)
            except psycopg.errors.UniqueViolation as error:
                logger.info("written with care: %s", primary_message(error))
        return self._write(prepared, content, with_care=True)

    def _write(
        self, prepared: PreparedChunk, content: ChunkContent, *, with_care: bool
    ) -> LoadResult:
        """T2: rows, discards and cursor, all or none."""
        skipped = Counter(prepared.skipped)
        if content.erased:
            skipped[ERASED] = len(content.erased)
        counts: dict[str, int] = {}
        repeated = Counter(content.repeated)
        discards: list[Row] = []
        with self._conn.transaction():
            loaded_at = self._move_cursor(prepared, skipped)
            writer = Writer(
                self._conn,
                self._feed.namespace,
                self._namespace,
                loaded_at,
                with_care=with_care,
            )
            for table in sorted(content.rows):
                rows = [kept.row for kept in content.rows[table].values()]
                written = writer.write(table, rows)
                counts[table] = written.count
                repeated[table] += written.repeated
                discards += written.stored_discards()
                if table == "identifies" and self._namespace.has("users"):
                    users = self._write_users(writer, content, written)
                    counts["users"] = users.count
                    discards += users.discards
            writer.write_discards(discards)
        self._meets_stored = writer.met_stored
        return LoadResult(
            loaded=_loaded(prepared, skipped),
            skipped=skipped,
            rows=counts,
            discards=len(discards),
            warnings=tuple(self._namespace.warnings),
            repeated=+repeated,
            discarded=Counter(each.values["table_name"] for each in discards),
            added=dict(self._namespace.added),
            rewritten=content.rewritten,
        )

    def _write_users(
        self, writer: Writer, content: ChunkContent, identifies: WrittenRows
    ) -> WrittenRows:
        makes_user = {row_id for row_id, kept in content.rows["identifies"].items() if kept.is_user}
        users = write_users(
            self._conn, self._feed.namespace, self._namespace, writer, identifies, makes_user
        )
        users.discards += _discards_of_users(identifies, makes_user)
        return users

    def _move_cursor(self, prepared: PreparedChunk, skipped: Counter[str]) -> datetime:
        """The time of the transaction."""
        chunk, connection_id = prepared.chunk, self._feed.connection_id
        self._conn.execute(sql.start_cursor(self._schema), [connection_id, chunk.after])
        moved = self._conn.execute(
            sql.move_cursor(self._schema),
            {
                "connection_id": connection_id,
                "after": chunk.after,
                "upto": chunk.upto,
                "loaded": _loaded(prepared, skipped),
                "skipped": skipped.total(),
                "dead_letters": len(prepared.dead_letters),
            },
        ).fetchone()
        if moved is None:
            raise DestinationUnavailableError("the cursor was moved by another load")
        loaded_at: datetime = moved[0]
        return loaded_at


def _loaded(prepared: PreparedChunk, skipped: Counter[str]) -> int:
    return len(prepared.chunk.events) - len(prepared.dead_letters) - skipped.total()


def _discards_of_users(identifies: WrittenRows, makes_user: Container[str]) -> list[Row]:
    """What did not fit identifies does not reach users either."""
    user_of = {values["id"]: values.get("user_id") for values in identifies.values}
    return [
        discard._replace(
            values=discard.values
            | {"table_name": "users", "row_id": user_of[discard.values["row_id"]]}
        )
        for discard in identifies.stored_discards()
        if discard.values["row_id"] in makes_user and user_of[discard.values["row_id"]] is not None
    ]
