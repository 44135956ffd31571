"""Records when a task of beat last reached a worker."""

from __future__ import annotations

import logging
from datetime import datetime

from django.core.cache import cache
from django.utils import timezone
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_KEY = "heartbeat"


def record_beat() -> None:
    try:
        cache.set(_KEY, timezone.now(), timeout=None)
    except (RedisError, OSError) as error:
        logger.warning("the heartbeat was not recorded: %s", type(error).__name__)


def last_beat() -> datetime | None:
    beat_at: datetime | None = cache.get(_KEY)
    return beat_at
