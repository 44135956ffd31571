"""Queues work for the workers: messages that name a task and a primary key, but carry no events.

After events arrive, a separate thread queues the loads of their connections, at most one per
connection and interval, so that a request never waits for the broker. A lost message delays the
work by a few seconds, because beat queues it again.
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
CONNECTIONS_CACHE_SECONDS = 5.0
QUEUED_SECONDS = 30
"""How long a message may stay in the queue; after that a new one is sent."""


class Work(StrEnum):
    """The Celery name of a task that takes a primary key; for all of the quarantine it is 0."""

    LOAD = "events.tasks.load_connection"
    REPLAY = "events.tasks.load_replay"
    ERASURE = "events.tasks.continue_erasure"
    CHANGE = "events.tasks.advance_change"
    QUARANTINE = "events.tasks.send_quarantined_again"


def enqueue_loads(source_pk: int) -> None:
    """Queue loads of all connections of a source, without waiting for the broker."""
    _enqueuer.get().add(source_pk)


def enqueue(pk: int, work: Work = Work.LOAD) -> None:
    """Queue the work unless it is in the queue already."""
    key = _queued_key(pk, work)
    try:
        if not cache.add(key, 1, timeout=QUEUED_SECONDS):
            return
    except RedisError as error:  # nobody knows whether it is queued
        logger.warning("cache unavailable: %s", type(error).__name__)
    try:
        current_app.send_task(work, (pk,), expires=QUEUED_SECONDS)
    except OperationalError:
        _unmark(key)
        raise


def try_enqueue(pk: int, work: Work) -> None:
    """Queue the work; without a broker, beat queues it later."""
    try:
        enqueue(pk, work)
    except OperationalError as error:
        logger.warning("work not queued, beat will: %s", type(error).__name__)


def mark_taken(pk: int, work: Work = Work.LOAD) -> None:
    """Note that a worker has taken the message, so that the next one is sent."""
    _unmark(_queued_key(pk, work))


def _queued_key(pk: int, work: Work) -> str:
    """The key of the cache that exists while the work is in the queue."""
    return f"queued:{work.name.lower()}:{pk}"


def _unmark(key: str) -> None:
    try:
        cache.delete(key)
    except RedisError as error:
        logger.warning("cache unavailable: %s", type(error).__name__)


class Enqueuer:
    """A thread that queues loads of the connections of the sources that were added."""

    def __init__(self) -> None:
        self._sources: set[int] = set()
        self._wake = threading.Event()
        self._connection_cache: dict[int, tuple[float, list[int]]] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="enqueuer", daemon=True)
        self._thread.start()

    def add(self, source_pk: int) -> None:
        if source_pk not in self._sources:
            self._sources.add(source_pk)
            self._wake.set()

    def close(self) -> None:
        """Queue the loads of the sources that wait, then end the thread."""
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
                    for connection_pk in self._connection_pks(source_pk):
                        enqueue(connection_pk)
            except (OperationalError, RedisError, DatabaseError) as error:
                logger.warning("loads not queued, beat will: %s", type(error).__name__)
            time.sleep(INTERVAL_SECONDS)

    def _connection_pks(self, source_pk: int) -> list[int]:
        until, pks = self._connection_cache.get(source_pk, (0.0, []))
        if time.monotonic() < until:
            return pks
        connections = Connection.objects.filter(
            source_id=source_pk, enabled=True, destination__enabled=True
        )
        try:
            pks = list(connections.values_list("pk", flat=True))
        finally:
            connection.close()
        self._connection_cache[source_pk] = (time.monotonic() + CONNECTIONS_CACHE_SECONDS, pks)
        return pks


_enqueuer = PerProcess(Enqueuer)


def close_enqueuer() -> None:
    """End this process's thread, between tests."""
    _enqueuer.close()
