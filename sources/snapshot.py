"""Keeps all sources and keys in the memory of the process, so that requests need no query.

The process reads sources_revision at most twice a second, and the sources again when a trigger has
raised it. While Postgres is unavailable the last snapshot remains in use.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from sources.models import OnInvalidEvent, Source, WriteKey
from sources.refusals import unavailable

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """A source as the gateway needs it; limits that it does not set are the instance's."""

    pk: int
    public_id: str
    name: str
    type: str
    enabled: bool
    quarantines: bool
    max_event_bytes: int
    max_body_bytes: int
    rate_limit_requests: int | None
    rate_limit_window_seconds: int
    allowed_origins: frozenset[str]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class KeyInfo:
    pk: int
    source: SourceInfo
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All sources, by the digests of their keys and ids: every lookup takes the same time."""

    revision: int
    keys: dict[bytes, KeyInfo]
    ids: dict[bytes, SourceInfo]
    max_body_bytes: int
    """The largest limit of any source, for a body that is read before its source is known."""

    def active_key(self, key: str, at: datetime) -> KeyInfo | None:
        key_info = self.keys.get(_digest(key))
        if key_info is None or (key_info.revoked_at is not None and key_info.revoked_at <= at):
            return None
        return key_info

    def source_of_id(self, public_id: str) -> SourceInfo | None:
        return self.ids.get(_digest(public_id))


_lock = threading.Lock()
_current: Snapshot | None = None
_checked_at = -CHECK_SECONDS


def current_snapshot() -> Snapshot:
    """The snapshot, at most half a second old while Postgres answers.

    Raises RefusedError before the first one: the sender has to retry.
    """
    if _current is None or time.monotonic() - _checked_at >= CHECK_SECONDS:
        _refresh()
    if _current is None:
        raise unavailable()
    return _current


def expire_snapshot() -> None:
    """Check the revision at the next request, after a change in this process."""
    global _checked_at  # noqa: PLW0603
    _checked_at = -CHECK_SECONDS


def reset_snapshot() -> None:
    """Put this process into its initial state, for tests."""
    global _current  # noqa: PLW0603
    _current = None
    expire_snapshot()


def _refresh() -> None:
    """Refresh in one thread; the others use the old snapshot, and wait only for the first one."""
    global _current, _checked_at  # noqa: PLW0603
    if not _lock.acquire(blocking=_current is None):
        return
    try:
        if _current is not None and time.monotonic() - _checked_at < CHECK_SECONDS:
            return
        _checked_at = time.monotonic()
        with connection.cursor() as cursor:
            cursor.execute("SELECT revision FROM sources_revision")
            revision = int(cursor.fetchone()[0])
        if _current is None or _current.revision != revision:
            _current = _load_snapshot(revision)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("sources not read again: %s", type(error).__name__)
    finally:
        _lock.release()


def _load_snapshot(revision: int) -> Snapshot:
    """Read the sources. The revision was read before them, so no change is missed."""
    sources = {source.pk: _source_info(source) for source in Source.objects.all()}
    keys = {
        _digest(key.key): KeyInfo(key.pk, sources[key.source_id], key.revoked_at)
        for key in WriteKey.objects.active(timezone.now())
        if key.source_id in sources
    }
    ids = {_digest(source.public_id): source for source in sources.values()}
    largest = max((source.max_body_bytes for source in sources.values()), default=0)
    return Snapshot(revision, keys, ids, max(largest, settings.MAX_BODY_BYTES))


def _source_info(source: Source) -> SourceInfo:
    return SourceInfo(
        pk=source.pk,
        public_id=source.public_id,
        name=source.name,
        type=source.type,
        enabled=source.enabled,
        quarantines=source.on_invalid_event == OnInvalidEvent.QUARANTINE,
        max_event_bytes=source.max_event_bytes or settings.MAX_EVENT_BYTES,
        max_body_bytes=source.max_body_bytes or settings.MAX_BODY_BYTES,
        rate_limit_requests=source.rate_limit_requests,
        rate_limit_window_seconds=source.rate_limit_window_seconds,
        allowed_origins=frozenset(map(normalised_origin, source.allowed_origins)),
        updated_at=source.updated_at,
    )


def normalised_origin(origin: str) -> str:
    """The origin in lower case, since scheme and host ignore case."""
    return origin.strip().rstrip("/").lower()


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
