"""Keeps the newest accepted requests as they arrived, in the cache, for the trace of an event.

A separate thread writes them, so that no request waits for the cache; under load it drops some.
Each source has SLOTS slots. Keys and cookies are redacted before anything is kept.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.cache import cache
from redis.exceptions import RedisError

from destinations.interface import DestinationUnavailableError
from events.protocol.masking import HIDDEN
from events.workers.per_process import PerProcess

logger = logging.getLogger(__name__)

SLOTS = 1_000
BODY_BYTES = 16_384
MAX_WAITING = 40
INTERVAL_SECONDS = 0.2
SECRET_HEADERS = frozenset({"Authorization", "Proxy-Authorization", "Cookie"})

_UNPREFIXED_HEADERS = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})
_SECRET_WORDS = re.compile("key|token|secret|password|signature", re.IGNORECASE)
_KEY_IN_QUERY = re.compile(r"(writeKey=)[^&]*", re.IGNORECASE)
_KEY_IN_BODY = re.compile(rb'("writeKey"\s*:\s*")[^"]*')


@dataclass(frozen=True)
class KeptRequest:
    """An accepted request; body holds at most the first BODY_BYTES."""

    received_at: datetime
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    body_bytes: int
    """The length of the whole body."""


def keep_request(
    source_pk: int, received_at: datetime, meta: Mapping[str, Any], body: bytes
) -> None:
    """Pass an accepted request to the thread that keeps it; returns at once."""
    if settings.REQUEST_MINUTES:
        _keeper.get().add(source_pk, received_at, meta, body)


def find_request(source_pk: int, received_at: datetime) -> KeptRequest | None:
    """The request that the source sent at this time; None if the cache does not have it."""
    try:
        request = cache.get(_slot_key(source_pk, received_at))
    except RedisError as error:
        logger.warning("cache unavailable: %s", type(error).__name__)
        return None
    is_kept = isinstance(request, KeptRequest) and request.received_at == received_at
    return request if is_kept else None


def delete_requests(source_pks: Iterable[int]) -> None:
    """Delete all requests of the sources; DestinationUnavailableError if the cache is away."""
    try:
        for source_pk in source_pks:
            cache.delete_many([_cache_key(source_pk, slot) for slot in range(SLOTS)])
    except RedisError as error:
        raise DestinationUnavailableError(
            "the cache that keeps requests does not answer"
        ) from error


def _slot_key(source_pk: int, received_at: datetime) -> str:
    return _cache_key(source_pk, int(received_at.timestamp() * 1_000_000) % SLOTS)


def _cache_key(source_pk: int, slot: int) -> str:
    return f"request:{source_pk}:{slot}"


def _kept_request(received_at: datetime, meta: Mapping[str, Any], body: bytes) -> KeptRequest:
    query = _KEY_IN_QUERY.sub(rf"\1{HIDDEN}", str(meta.get("QUERY_STRING", "")))
    path = str(meta.get("PATH_INFO", ""))
    return KeptRequest(
        received_at,
        str(meta.get("REQUEST_METHOD", "")),
        f"{path}?{query}" if query else path,
        readable_headers(meta),
        _KEY_IN_BODY.sub(rb"\1" + HIDDEN.encode(), body[:BODY_BYTES]),
        len(body),
    )


def readable_headers(meta: Mapping[str, Any]) -> dict[str, str]:
    """The headers by their usual spelling, with redacted values of secret ones."""
    names = [name for name in meta if name.startswith("HTTP_") or name in _UNPREFIXED_HEADERS]
    spellings = {name: name.removeprefix("HTTP_").replace("_", "-").title() for name in names}
    return {
        spellings[name]: HIDDEN if _is_secret(spellings[name]) else str(meta[name])
        for name in sorted(names, key=spellings.__getitem__)
        if meta[name]
    }


def _is_secret(header: str) -> bool:
    return header in SECRET_HEADERS or bool(_SECRET_WORDS.search(header))


class RequestKeeper:
    """The thread that writes waiting requests to the cache."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, KeptRequest]] = deque(maxlen=MAX_WAITING)
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="request-keeper", daemon=True)
        self._thread.start()

    def add(
        self, source_pk: int, received_at: datetime, meta: Mapping[str, Any], body: bytes
    ) -> None:
        if len(self._waiting) < MAX_WAITING:
            # Shortened here, so that no large body waits
            request = _kept_request(received_at, meta, body)
            self._waiting.append((_slot_key(source_pk, received_at), request))
            self._wake.set()

    def close(self) -> None:
        """Write the waiting requests, then end the thread."""
        self._closed = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait()
            time.sleep(INTERVAL_SECONDS)
            self._wake.clear()
            self._store()

    def _store(self) -> None:
        requests = dict(self._waiting.popleft() for _ in range(len(self._waiting)))
        try:
            cache.set_many(requests, timeout=settings.REQUEST_MINUTES * 60)
        except RedisError as error:
            logger.warning("requests not kept: %s", type(error).__name__)


_keeper = PerProcess(RequestKeeper)


def close_keeper() -> None:
    """End the thread of this process, for tests."""
    _keeper.close()
