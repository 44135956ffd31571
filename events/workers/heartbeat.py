"""Records when a task of beat last reached a worker."""

from __future__ import annotations

import logging
from datetime import datetime

from django.core.cache import cache
from django.utils import timezone
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_KEY = "heartbeat"


def beat() -> None:
    try:
        cache.set(_KEY, timezone.now(), timeout=None)
    except (RedisError, OSError) as error:
        logger.warning("the heartbeat was not noted: %s", type(error).__name__)


def last() -> datetime | None:
    found: datetime | None = cache.get(_KEY)
    return found
