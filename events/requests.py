"""The newest accepted requests as they came, for the trace: in the cache, for an hour, bounded.

A thread of its own writes them, so that no request waits for the cache; under load it keeps some
of them only. Each source has SLOTS places. Keys and cookies are hidden before anything is kept.
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
from events.masking import HIDDEN
from events.per_process import PerProcess

logger = logging.getLogger(__name__)

SLOTS = 1_000
BODY_BYTES = 16_384
WAITING = 40
INTERVAL_SECONDS = 0.2
SECRET_HEADERS = frozenset({"Authorization", "Proxy-Authorization", "Cookie"})

_SECRET_WORDS = re.compile("key|token|secret|password|signature", re.IGNORECASE)
_KEY_IN_QUERY = re.compile(r"(writeKey=)[^&]*", re.IGNORECASE)
_KEY_IN_BODY = re.compile(rb'("writeKey"\s*:\s*")[^"]*')


@dataclass(frozen=True)
class Kept:
    """A request; of a longer body the beginning."""

    received_at: datetime
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    body_bytes: int
    """Of the whole body."""


def keep(source_pk: int, received_at: datetime, meta: Mapping[str, Any], body: bytes) -> None:
    """Have an accepted request kept, if there is time; returns at once."""
    if settings.REQUEST_MINUTES:
        _keeper.get().add(source_pk, received_at, meta, body)


def find(source_pk: int, received_at: datetime) -> Kept | None:
    """The request that came then, unless it was not kept or is kept no longer."""
    try:
        found = cache.get(_key(source_pk, received_at))
    except RedisError as error:
        logger.warning("cache unavailable: %s", type(error).__name__)
        return None
    return found if isinstance(found, Kept) and found.received_at == received_at else None


def forget(source_pks: Iterable[int]) -> None:
    """All of these sources: who is erased may be in any."""
    try:
        for source_pk in source_pks:
            cache.delete_many([_place(source_pk, slot) for slot in range(SLOTS)])
    except RedisError as error:
        raise DestinationUnavailableError("the cache, which keeps requests, is away") from error


def _key(source_pk: int, received_at: datetime) -> str:
    return _place(source_pk, int(received_at.timestamp() * 1_000_000) % SLOTS)


def _place(source_pk: int, slot: int) -> str:
    return f"request:{source_pk}:{slot}"


def _kept(received_at: datetime, meta: Mapping[str, Any], body: bytes) -> Kept:
    query = _KEY_IN_QUERY.sub(rf"\1{HIDDEN}", str(meta.get("QUERY_STRING", "")))
    path = str(meta.get("PATH_INFO", ""))
    return Kept(
        received_at,
        str(meta.get("REQUEST_METHOD", "")),
        f"{path}?{query}" if query else path,
        headers_of(meta),
        _KEY_IN_BODY.sub(rb"\1" + HIDDEN.encode(), body[:BODY_BYTES]),
        len(body),
    )


def headers_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """As they are usually spelt; those that hold a secret are hidden."""
    names = [name for name in meta if name.startswith("HTTP_") or name in _PLAIN]
    spelt = {name: name.removeprefix("HTTP_").replace("_", "-").title() for name in names}
    return {
        spelt[name]: HIDDEN if _is_secret(spelt[name]) else str(meta[name])
        for name in sorted(names, key=spelt.__getitem__)
        if meta[name]
    }


def _is_secret(header: str) -> bool:
    return header in SECRET_HEADERS or bool(_SECRET_WORDS.search(header))


_PLAIN = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})


class Keeper:
    def __init__(self) -> None:
        self._waiting: deque[tuple[str, Kept]] = deque(maxlen=WAITING)
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="request-keeper", daemon=True)
        self._thread.start()

    def add(
        self, source_pk: int, received_at: datetime, meta: Mapping[str, Any], body: bytes
    ) -> None:
        if len(self._waiting) < WAITING:
            kept = _kept(received_at, meta, body)  # here, so that no large body waits
            self._waiting.append((_key(source_pk, received_at), kept))
            self._wake.set()

    def close(self) -> None:
        """Keep what waits, then end the thread."""
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
        kept = dict(self._waiting.popleft() for _ in range(len(self._waiting)))
        try:
            cache.set_many(kept, timeout=settings.REQUEST_MINUTES * 60)
        except RedisError as error:
            logger.warning("requests not kept: %s", type(error).__name__)


_keeper = PerProcess(Keeper)


def close_keeper() -> None:
    """Let the thread of this process end: between tests."""
    _keeper.close()
