"""Limits the requests of each source."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from sources import rate_limits
from sources.snapshot import SourceInfo


class SourceThrottle(BaseThrottle):
    """Counts a source's requests per window, over all its keys and all web processes."""

    def __init__(self) -> None:
        self._wait_seconds = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        source = request.auth
        if isinstance(source, SourceInfo) and source.rate_limit_requests is not None:
            self._wait_seconds = rate_limits.seconds_to_wait(
                "events",
                str(source.pk),
                source.rate_limit_requests,
                source.rate_limit_window_seconds,
            )
        return not self._wait_seconds

    def wait(self) -> int:
        """Whole seconds until the window ends."""
        return self._wait_seconds
