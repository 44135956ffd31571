"""Refusals of requests: a status and one line of text."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.exceptions import APIException

TEXT = "text/plain; charset=utf-8"

# Each a status and a line, with words that SDKs search for
MISSING_KEY = (401, "Missing Authorization Header: failed to read writekey from header")
MISSING_QUERY_KEY = (401, "Missing write key: failed to read writekey from query params")
MISSING_SOURCE_ID = (401, "Missing Authorization Header: failed to read source id from header")
INVALID_KEY = (401, "Invalid Authorization Header: invalid write key")
INVALID_SOURCE_ID = (401, "Invalid Authorization Header: invalid source id")
INVALID_INTERNAL_TOKEN = (401, "Invalid Authorization Header: invalid internal token")
SOURCE_DISABLED = (404, "Source is disabled")
NOT_FOUND = (404, "Not found")


class RefusedError(APIException):
    """The request is refused with this status and line of text."""

    def __init__(self, status: int, line: str, retry_after_seconds: int | None = None) -> None:
        super().__init__(line)
        self.status_code = status
        self.line = line
        self.retry_after_seconds = retry_after_seconds


def refusal_response(refused: RefusedError) -> HttpResponse:
    """The refusal as plain text, since SDKs break on JSON."""
    response = HttpResponse(refused.line.encode(), content_type=TEXT, status=refused.status_code)
    response.headers["X-Content-Type-Options"] = "nosniff"
    if refused.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(refused.retry_after_seconds)
    return response


def too_many_requests(retry_after_seconds: int) -> RefusedError:
    return RefusedError(429, "Too many requests: max requests limit reached", retry_after_seconds)


def unavailable(retry_after_seconds: int = 2) -> RefusedError:
    return RefusedError(503, "Service unavailable", retry_after_seconds)


def method_not_allowed(method: str) -> RefusedError:
    return RefusedError(405, f"Method not allowed: {method}")
