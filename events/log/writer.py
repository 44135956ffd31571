"""Appends to the event log with a group commit.

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
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.sql import SQL, Literal

from events.log.database import log_connection
from events.log.partitions import ensure_partitions
from events.log.reader import LOG_LOCK
from events.protocol.event import ParsedEvent
from events.workers.per_process import PerProcess

logger = logging.getLogger(__name__)

GROUP_EVENTS = 5_000

Row = tuple[str, str, str, str, str, str, str, str]
"""received_at, source_id, message_id, type, event, user_id, anonymous_id, payload."""

_BEGIN = SQL("BEGIN; SELECT pg_advisory_xact_lock_shared({})").format(Literal(LOG_LOCK))

_COPY = """
COPY events_event
(received_at, source_id, message_id, type, event, user_id, anonymous_id, payload)
FROM STDIN
"""


class LogUnavailableError(Exception):
    """Postgres did not store the events in time; the sender should retry."""

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


class _Append:
    """The rows of one request that wait for their commit.

    `done` is a lock that is held until the commit. A threading.Event would be four objects and cost
    twice as many switches.
    """

    __slots__ = ("done", "error", "rows")

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.done = threading.Lock()
        self.done.acquire()
        self.error: Exception | None = None

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self.done.release()


class LogWriter:
    """The thread of a process that COPYs the events of all waiting requests in one transaction."""

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
            with self._wake, contextlib.suppress(ValueError):  # it may be in a group already
                self._waiting.remove(request)
            raise LogUnavailableError(f"no commit within {timeout_seconds} s")
        if request.error:
            raise request.error

    def close(self) -> None:
        """Store the waiting events, then end the thread and its connection."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while group := self._take_group():
            self._store(group)
        self._disconnect()

    def _take_group(self) -> list[_Append]:
        """The oldest waiting requests with about GROUP_EVENTS events; empty when closed."""
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
            if len(group) == 1:
                self._finish(group, error)
            else:
                for request in group:  # so that the rows of one do not fail the others
                    self._store([request])
        else:
            self._finish(group)

    @staticmethod
    def _finish(group: list[_Append], error: Exception | None = None) -> None:
        for request in group:
            request.finish(error)

    def _commit(self, rows: list[Row]) -> None:
        if self._conn is None:
            self._conn = log_connection()
        conn = self._conn
        for day in {row[0][:10] for row in rows} - self._days:
            ensure_partitions(conn, date.fromisoformat(day))
            self._days.add(day)
        conn.execute(_BEGIN)
        with conn.cursor().copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)
        conn.execute("COMMIT")

    def _disconnect(self) -> None:
        """Close the connection and forget the partitions: the next server may be another."""
        conn, self._conn = self._conn, None
        self._days.clear()
        if conn is not None:
            conn.close()


_writer = PerProcess(LogWriter)


def close_writer() -> None:
    """Store the waiting events and close the connection, at shutdown and between tests."""
    _writer.close()
