"""The budget of a source: requests in a window, counted in the cache of all web processes."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from django.http import HttpRequest
from django_ratelimit.core import get_usage  # type: ignore[import-untyped]
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from sources.snapshot import SourceInfo

logger = logging.getLogger(__name__)

REST_SECONDS = 2.0
"""How long the cache is left alone after it failed: requests do not queue for its timeout."""


class SourceThrottle(BaseThrottle):
    """Lets pass while the cache is down."""

    _rests_until = 0.0

    def __init__(self) -> None:
        self._wait_seconds = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        source = request.auth
        if not isinstance(source, SourceInfo) or source.rate_limit_requests is None:
            return True
        if time.monotonic() < SourceThrottle._rests_until:
            return True
        try:
            usage = _usage(request._request, source)  # noqa: SLF001
        except (RedisError, OSError) as error:
            SourceThrottle._rests_until = time.monotonic() + REST_SECONDS
            logger.warning("no rate limits, the cache fails: %s", type(error).__name__)
            return True
        self._wait_seconds = max(1, math.ceil(usage["time_left"]))
        return not usage["should_limit"]

    def wait(self) -> int:
        """Whole seconds until the window ends."""
        return self._wait_seconds


def _usage(request: HttpRequest, source: SourceInfo) -> dict[str, Any]:
    usage: dict[str, Any] | None = get_usage(
        request,
        group="events",
        key=lambda _group, _request: str(source.pk),
        rate=lambda _group, _request: (
            source.rate_limit_requests,
            source.rate_limit_window_seconds,
        ),
        increment=True,
    )
    if usage is None:
        raise AssertionError("a rate was given")
    return usage
