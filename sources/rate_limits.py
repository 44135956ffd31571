"""Limits requests per window, counted in the cache that all web processes share.

While the cache fails nothing is limited, because an event is worth more than a limit.
"""

from __future__ import annotations

import logging
import math
import time

from django.conf import settings
from django_ratelimit.core import get_usage  # type: ignore[import-untyped]
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

CACHE_RETRY_SECONDS = 2.0
"""Pause after a failure of the cache, so that requests do not queue for its timeout."""
MINUTE_SECONDS = 60
MAX_ADDRESSES = 10_000

_cache_retry_at = 0.0
_refused_until: dict[str, float] = {}


def seconds_to_wait(group: str, value: str, requests: int, window_seconds: int) -> int:
    """Count one request; returns 0 within the limit, else the seconds until the window ends."""
    global _cache_retry_at  # noqa: PLW0603
    if time.monotonic() < _cache_retry_at:
        return 0
    try:
        usage = get_usage(
            None,
            group=group,
            key=lambda _group, _request: value,
            rate=lambda _group, _request: (requests, window_seconds),
            increment=True,
        )
    except (RedisError, OSError) as error:
        _cache_retry_at = time.monotonic() + CACHE_RETRY_SECONDS
        logger.warning("no rate limits, the cache fails: %s", type(error).__name__)
        return 0
    return max(1, math.ceil(usage["time_left"])) if usage["should_limit"] else 0


def seconds_to_wait_after_unknown_key(address: str) -> int:
    """Count an unknown key or id; returns the seconds for which the address is refused, or 0.

    An address over the limit is remembered in the process and costs the cache nothing more.
    """
    if not settings.UNKNOWN_KEYS_PER_MINUTE:
        return 0
    seconds_left = _refused_until.get(address, 0.0) - time.monotonic()
    if seconds_left > 0:
        return math.ceil(seconds_left)
    wait = seconds_to_wait(
        "unknown keys", address, settings.UNKNOWN_KEYS_PER_MINUTE, MINUTE_SECONDS
    )
    if wait:
        if len(_refused_until) >= MAX_ADDRESSES:
            _refused_until.clear()
        _refused_until[address] = time.monotonic() + wait
    return wait


def reset_limits() -> None:
    """Put this process into its initial state, for tests."""
    global _cache_retry_at  # noqa: PLW0603
    _cache_retry_at = 0.0
    _refused_until.clear()
