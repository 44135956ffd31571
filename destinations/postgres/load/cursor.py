"""The cursor of a connection, which its warehouse keeps beside the rows."""

from __future__ import annotations

from datetime import datetime

from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.interface import Chunk, CursorCounts, DestinationUnavailableError
from destinations.postgres.connection import Conn

READ = """
SELECT position, loaded, skipped, dead_letters
FROM {}
WHERE connection_id = %s
"""

START = """
INSERT INTO {} (connection_id, position)
VALUES (%s, %s)
ON CONFLICT (connection_id) DO NOTHING
"""

MOVE = """
UPDATE {}
SET position = %(upto)s,
    loaded = loaded + %(loaded)s,
    skipped = skipped + %(skipped)s,
    dead_letters = dead_letters + %(dead_letters)s,
    updated_at = transaction_timestamp()
WHERE connection_id = %(connection_id)s AND position = %(after)s
RETURNING transaction_timestamp()
"""


class Cursor:
    """The row of one connection in rudder_cursors."""

    def __init__(self, conn: Conn, identity_schema: str, connection_id: int) -> None:
        self._conn = conn
        self._table = pgsql.Identifier(identity_schema, "rudder_cursors")
        self._connection_id = connection_id

    def counts(self) -> CursorCounts | None:
        row = self._conn.execute(SQL(READ).format(self._table), [self._connection_id]).fetchone()
        return CursorCounts(*row) if row else None

    def move(self, chunk: Chunk, *, loaded: int, skipped: int, dead_letters: int) -> datetime:
        """Move past the chunk and add to the counts; returns the time of the transaction.

        DestinationUnavailableError when the cursor is not where the chunk begins.
        """
        start = [self._connection_id, chunk.after]
        self._conn.execute(SQL(START).format(self._table), start)
        moved = self._conn.execute(
            SQL(MOVE).format(self._table),
            {
                "connection_id": self._connection_id,
                "after": chunk.after,
                "upto": chunk.upto,
                "loaded": loaded,
                "skipped": skipped,
                "dead_letters": dead_letters,
            },
        ).fetchone()
        if moved is None:
            raise DestinationUnavailableError("the cursor was moved by another load")
        return moved[0]  # type: ignore[no-any-return]
