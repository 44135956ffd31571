"""Budgets of requests, counted in the cache of all web processes.

While the cache fails nothing is limited: an event is worth more than a budget.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from django.conf import settings
from django_ratelimit.core import get_usage  # type: ignore[import-untyped]
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

REST_SECONDS = 2.0
"""How long the cache is left alone after it failed: requests do not queue for its timeout."""
MINUTE = 60
MOST_ADDRESSES = 10_000

_rests_until = 0.0
_refused_until: dict[str, float] = {}


def seconds_to_wait(group: str, value: str, requests: int, window_seconds: int) -> int:
    """Count one request; 0 within the budget, else the whole seconds until the window ends."""
    global _rests_until  # noqa: PLW0603
    if time.monotonic() < _rests_until:
        return 0
    try:
        usage = _usage(group, value, requests, window_seconds)
    except (RedisError, OSError) as error:
        _rests_until = time.monotonic() + REST_SECONDS
        logger.warning("no rate limits, the cache fails: %s", type(error).__name__)
        return 0
    return max(1, math.ceil(usage["time_left"])) if usage["should_limit"] else 0


def seconds_to_wait_after_unknown_key(address: str) -> int:
    """Count a key or id that nobody has. Who is over the budget costs the cache nothing more."""
    if not settings.UNKNOWN_KEYS_PER_MINUTE:
        return 0
    left = _refused_until.get(address, 0.0) - time.monotonic()
    if left > 0:
        return math.ceil(left)
    wait = seconds_to_wait("unknown keys", address, settings.UNKNOWN_KEYS_PER_MINUTE, MINUTE)
    if wait:
        if len(_refused_until) >= MOST_ADDRESSES:
            _refused_until.clear()
        _refused_until[address] = time.monotonic() + wait
    return wait


def forget() -> None:
    """As in a process that has just begun."""
    global _rests_until  # noqa: PLW0603
    _rests_until = 0.0
    _refused_until.clear()


def _usage(group: str, value: str, requests: int, window_seconds: int) -> dict[str, Any]:
    usage: dict[str, Any] | None = get_usage(
        None,
        group=group,
        key=lambda _group, _request: value,
        rate=lambda _group, _request: (requests, window_seconds),
        increment=True,
    )
    if usage is None:
        raise AssertionError("a rate was given")
    return usage
