"""Rings tell a worker that a connection has something to load; they carry no events.

A thread of its own sends them, at most one a connection and interval, so that a request never
waits for the broker. A lost ring costs a few seconds: beat rings, too.
"""

from __future__ import annotations

import logging
import threading
import time
from enum import StrEnum

from celery import current_app
from django.core.cache import cache
from django.db import DatabaseError, connection
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from destinations.models import Connection
from events.workers.per_process import PerProcess

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 0.2
KNOWN_SECONDS = 5.0
WAITING_SECONDS = 30
"""How long a ring may lie in the queue; longer, and a new one is sent."""


class Work(StrEnum):
    """What a worker is rung for: the Celery name of a task, which takes a primary key.

    The quarantine is one piece of work, with the number 0.
    """

    LOAD = "events.tasks.load_connection"
    REPLAY = "events.tasks.load_replay"
    ERASURE = "events.tasks.continue_erasure"
    CHANGE = "events.tasks.advance_change"
    QUARANTINE = "events.tasks.send_quarantined_again"


def ring(source_pk: int) -> None:
    """Have the connections of a source loaded soon."""
    _ringer.get().add(source_pk)


def send(pk: int, work: Work = Work.LOAD) -> None:
    """Queue it unless it already waits in the queue."""
    key = _key(pk, work)
    if not _is_first(key):
        return
    try:
        current_app.send_task(work, (pk,), expires=WAITING_SECONDS)
    except OperationalError:
        _forget(key)
        raise


def send_or_leave(pk: int, work: Work) -> None:
    """As send; without a broker it is left to beat."""
    try:
        send(pk, work)
    except OperationalError as error:
        logger.warning("ring not sent, beat will: %s", type(error).__name__)


def answered(pk: int, work: Work = Work.LOAD) -> None:
    """A worker has taken the ring: what comes next needs another."""
    _forget(_key(pk, work))


def _key(pk: int, work: Work) -> str:
    return f"ring:{pk}" if work == Work.LOAD else f"ring:{work.name.lower()}:{pk}"


def _is_first(key: str) -> bool:
    try:
        return bool(cache.add(key, 1, timeout=WAITING_SECONDS))
    except RedisError as error:
        logger.warning("cache unavailable: %s", type(error).__name__)
        return True


def _forget(key: str) -> None:
    try:
        cache.delete(key)
    except RedisError as error:
        logger.warning("cache unavailable: %s", type(error).__name__)


class Ringer:
    def __init__(self) -> None:
        self._sources: set[int] = set()
        self._wake = threading.Event()
        self._known: dict[int, tuple[float, list[int]]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="ringer", daemon=True)
        self._thread.start()

    def add(self, source_pk: int) -> None:
        if source_pk not in self._sources:
            self._sources.add(source_pk)
            self._wake.set()

    def close(self) -> None:
        """Ring what waits, then end the thread."""
        self._closed = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            self._wake.clear()
            sources, self._sources = self._sources, set()
            try:
                for source_pk in sources:
                    self._ring(source_pk)
            except (OperationalError, RedisError, DatabaseError) as error:
                logger.warning("rings not sent, beat will: %s", type(error).__name__)
            time.sleep(INTERVAL_SECONDS)

    def _ring(self, source_pk: int) -> None:
        for connection_pk in self._connections(source_pk):
            send(connection_pk)

    def _connections(self, source_pk: int) -> list[int]:
        until, known = self._known.get(source_pk, (0.0, []))
        if time.monotonic() < until:
            return known
        found = Connection.objects.filter(
            source_id=source_pk, enabled=True, destination__enabled=True
        )
        try:
            known = list(found.values_list("pk", flat=True))
        finally:
            connection.close()
        self._known[source_pk] = (time.monotonic() + KNOWN_SECONDS, known)
        return known


_ringer = PerProcess(Ringer)


def close_ringer() -> None:
    """Let the thread of this process end: between tests."""
    _ringer.close()
