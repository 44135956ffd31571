"""The event log: append with a group commit, the barrier, and reading in chunks.

Ids are final below the barrier: a writer's transaction holds LOG_LOCK shared from before its
first id until it ends, and the barrier takes it exclusive for a moment. So everything at or
below the barrier is committed or will never be, and a cursor over ids skips no event.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql as pgsql
from psycopg.sql import SQL, Literal

from destinations.interface import Chunk, LoggedEvent
from events.log_database import log_connection
from events.per_process import PerProcess
from events.spec import ParsedEvent

logger = logging.getLogger(__name__)

LOG_LOCK = 0x72756464_00000001
PARTITION_LOCK = 0x72756464_00000002
GROUP_EVENTS = 5_000
READ_EVENTS = 1_000

Row = tuple[str, str, str, str, str, str, str, str]
"""received_at, source_id, message_id, type, event, user_id, anonymous_id, payload."""

_BEGIN = SQL("BEGIN; SELECT pg_advisory_xact_lock_shared({})").format(Literal(LOG_LOCK))

_COPY = """
COPY events_event
(received_at, source_id, message_id, type, event, user_id, anonymous_id, payload)
FROM STDIN
"""


class LogUnavailableError(Exception):
    """Postgres did not take the events in time; the sender is asked to come again."""

    def __init__(self, message: str, retry_after_seconds: int = 2) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


def append(
    source_pk: int, received_at: datetime, events: Sequence[ParsedEvent], timeout_seconds: float
) -> None:
    """Store the events, all or none; returns after their transaction has committed."""
    stamp, source = received_at.isoformat(), str(source_pk)
    rows: list[Row] = [
        (stamp, source, e.message_id, e.type, e.event, e.user_id, e.anonymous_id, e.payload)
        for e in events
    ]
    _writer.get().append(rows, timeout_seconds)


def barrier(conn: psycopg.Connection[tuple[Any, ...]]) -> int:
    """The id at or below which every event is final; 0 for an empty log."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOG_LOCK])
        row = conn.execute("SELECT coalesce(max(id), 0) FROM events_event").fetchone()
    return int(row[0]) if row else 0


def read_chunk(
    conn: psycopg.Connection[tuple[Any, ...]],
    source_pk: int,
    after: int,
    barrier_id: int,
    max_events: int,
    max_bytes: int,
) -> Chunk:
    """The next events of a source above a cursor, up to the barrier or to either limit."""
    events: list[LoggedEvent] = []
    size = 0
    last = after
    while len(events) < max_events and size < max_bytes:
        limit = min(READ_EVENTS, max_events - len(events))
        page = _read(conn, source_pk, last, barrier_id, limit)
        events += page
        size += sum(len(event.payload) for event in page)
        if len(page) < limit:
            return Chunk(after, barrier_id, events)
        last = page[-1].id
    return Chunk(after, last, events)


def first_id(
    conn: psycopg.Connection[tuple[Any, ...]], since: datetime | None, upto: int
) -> int | None:
    """The oldest event of the log up to an id, or of those that came since a time."""
    if since is None:
        row = conn.execute("SELECT min(id) FROM events_event WHERE id <= %s", [upto]).fetchone()
    else:
        row = conn.execute(
            "SELECT min(id) FROM events_event WHERE id <= %s AND received_at >= %s", [upto, since]
        ).fetchone()
    return row[0] if row else None


def count(
    conn: psycopg.Connection[tuple[Any, ...]],
    source_pk: int,
    after: int,
    upto: int,
    max_seconds: int,
) -> int | None:
    """How many events of the source have after < id <= upto; None when that takes too long."""
    try:
        with conn.transaction():
            conn.execute(
                SQL("SET LOCAL statement_timeout = {}").format(Literal(max_seconds * 1000))
            )
            row = conn.execute(
                """
                SELECT count(*)
                FROM events_event
                WHERE id > %s AND id <= %s AND source_id = %s
                """,
                [after, upto, source_pk],
            ).fetchone()
    except psycopg.errors.QueryCanceled:
        return None
    return int(row[0]) if row else None


def ensure_partitions(
    conn: psycopg.Connection[tuple[Any, ...]], first: date, days: int = 1
) -> None:
    """Make the log's partitions of these days; ATTACH lets readers and writers go on."""
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITION_LOCK])
        for offset in range(days):
            _ensure_partition(conn, first + timedelta(days=offset))


def _ensure_partition(conn: psycopg.Connection[tuple[Any, ...]], day: date) -> None:
    name = f"events_event_{day:%Y%m%d}"
    found = conn.execute("SELECT to_regclass(%s)", [name]).fetchone()
    if found and found[0]:
        return
    table = pgsql.Identifier(name)
    conn.execute(SQL("CREATE TABLE {} (LIKE events_event INCLUDING DEFAULTS)").format(table))
    conn.execute(
        SQL("ALTER TABLE events_event ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            table,
            Literal(datetime(day.year, day.month, day.day, tzinfo=UTC)),
            Literal(datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)),
        )
    )


def _read(
    conn: psycopg.Connection[tuple[Any, ...]], source_pk: int, after: int, upto: int, limit: int
) -> list[LoggedEvent]:
    cursor = conn.execute(
        """
        SELECT id, message_id, payload
        FROM events_event
        WHERE id > %s AND id <= %s AND source_id = %s
        ORDER BY id
        LIMIT %s
        """,
        [after, upto, source_pk, limit],
    )
    return [LoggedEvent(*row) for row in cursor]


class _Append:
    """Rows of one request that wait for their commit.

    done is a bare lock, held until then: an Event would be four objects and twice the switches.
    """

    __slots__ = ("done", "error", "rows", "taken")

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.taken = False
        self.done = threading.Lock()
        self.done.acquire()
        self.error: Exception | None = None

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self.done.release()


class LogWriter:
    """One thread a process that COPYs the events of all waiting requests in one transaction."""

    def __init__(self) -> None:
        self._waiting: deque[_Append] = deque()
        self._wake = threading.Condition()
        self._conn: psycopg.Connection[tuple[Any, ...]] | None = None
        self._days: set[str] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def append(self, rows: list[Row], timeout_seconds: float) -> None:
        request = _Append(rows)
        with self._wake:
            if self._closed:
                raise LogUnavailableError("the process is shutting down")
            self._waiting.append(request)
            self._wake.notify()
        if not request.done.acquire(timeout=timeout_seconds):
            self._withdraw(request)
            raise LogUnavailableError(f"no commit within {timeout_seconds} s")
        if request.error:
            raise request.error

    def close(self) -> None:
        """Store what waits, then end the thread and its connection."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _withdraw(self, request: _Append) -> None:
        with self._wake, contextlib.suppress(ValueError):  # it may just have been taken
            self._waiting.remove(request)

    def _run(self) -> None:
        while group := self._take():
            self._store(group)
        self._disconnect()

    def _take(self) -> list[_Append]:
        """The oldest waiting requests, until they have GROUP_EVENTS events; none when closed."""
        with self._wake:
            while not self._waiting and not self._closed:
                self._wake.wait()
            group: list[_Append] = []
            size = 0
            while self._waiting and size < GROUP_EVENTS:
                group.append(self._waiting.popleft())
                size += len(group[-1].rows)
            return group

    def _store(self, group: list[_Append]) -> None:
        try:
            self._commit([row for request in group for row in request.rows])
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            logger.warning("log unavailable: %s", type(error).__name__)
            self._disconnect()
            self._finish(group, LogUnavailableError("Postgres does not take events"))
        except Exception as error:
            logger.exception("a group of %d requests could not be stored", len(group))
            self._disconnect()
            self._store_alone(group, error)
        else:
            self._finish(group)

    def _store_alone(self, group: list[_Append], error: Exception) -> None:
        """One request's rows must not refuse the others'."""
        if len(group) == 1:
            self._finish(group, error)
            return
        for request in group:
            self._store([request])

    @staticmethod
    def _finish(group: list[_Append], error: Exception | None = None) -> None:
        for request in group:
            request.finish(error)

    def _commit(self, rows: list[Row]) -> None:
        conn = self._connected()
        for day in {row[0][:10] for row in rows} - self._days:
            ensure_partitions(conn, date.fromisoformat(day))
            self._days.add(day)
        conn.execute(_BEGIN)
        with conn.cursor().copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)
        conn.execute("COMMIT")

    def _connected(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._conn is None:
            self._conn = log_connection()
        return self._conn

    def _disconnect(self) -> None:
        """Also forget the known partitions: another server may stand at the address next time."""
        conn, self._conn = self._conn, None
        self._days.clear()
        if conn is not None:
            conn.close()


_writer = PerProcess(LogWriter)


def close_writer() -> None:
    """Store what waits and let go of the connection: at shutdown and between tests."""
    _writer.close()
