"""How far the re-applying of a column's discards is: kept in the cache, for whoever looks."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.core.cache import cache
from django.utils import timezone
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

KEPT_SECONDS = 3_600
SILENT = timedelta(minutes=5)


@dataclass(frozen=True)
class Progress:
    seen: int = 0
    total: int = 0
    outcome: str = ""
    """Empty while it runs."""
    told_at: datetime | None = field(default=None, compare=False)

    @property
    def percent(self) -> int:
        return 100 * self.seen // self.total if self.total else 0

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard for long: the worker was killed, or rewrites a large table."""
        return self.told_at is not None and timezone.now() - self.told_at > SILENT

    @property
    def is_over(self) -> bool:
        return bool(self.outcome) or self.is_silent


@dataclass(frozen=True)
class DiscardColumn:
    """A column of a warehouse, by which its progress is found."""

    destination_pk: int
    schema: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"

    @property
    def _key(self) -> str:
        return f"reapply:{self.destination_pk}:{self}"

    def begin(self) -> bool:
        """False when it runs; raises RedisError or OSError when that cannot be known."""
        known = cache.get(self._key)
        if isinstance(known, Progress) and known.is_over:
            cache.delete(self._key)
        return cache.add(self._key, Progress(told_at=timezone.now()), timeout=KEPT_SECONDS)

    def tell(self, progress: Progress) -> None:
        """To be seen; what is done does not depend on it."""
        told = replace(progress, told_at=timezone.now())
        try:
            cache.set(self._key, told, timeout=KEPT_SECONDS)
        except (RedisError, OSError) as error:
            logger.warning("progress was not noted: %s", type(error).__name__)

    def forget(self) -> None:
        try:
            cache.delete(self._key)
        except (RedisError, OSError) as error:
            logger.warning("progress was not forgotten: %s", type(error).__name__)

    def progress(self) -> Progress | None:
        try:
            found = cache.get(self._key)
        except (RedisError, OSError) as error:
            logger.warning("progress is not known: %s", type(error).__name__)
            return None
        return found if isinstance(found, Progress) else None
