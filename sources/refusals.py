"""Refusals of requests: a status and one line of text."""

from __future__ import annotations

from django.http import HttpResponse
from rest_framework.exceptions import APIException

TEXT = "text/plain; charset=utf-8"


class RefusedError(APIException):
    """A request is refused with this status and line, which holds words that SDKs search for."""

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


def missing_key() -> RefusedError:
    line = "Missing Authorization Header: failed to read writekey from header"
    return RefusedError(401, line)


def missing_query_key() -> RefusedError:
    return RefusedError(401, "Missing write key: failed to read writekey from query params")


def invalid_key() -> RefusedError:
    return RefusedError(401, "Invalid Authorization Header: invalid write key")


def missing_source_id() -> RefusedError:
    line = "Missing Authorization Header: failed to read source id from header"
    return RefusedError(401, line)


def invalid_source_id() -> RefusedError:
    return RefusedError(401, "Invalid Authorization Header: invalid source id")


def invalid_internal_token() -> RefusedError:
    return RefusedError(401, "Invalid Authorization Header: invalid internal token")


def source_disabled() -> RefusedError:
    return RefusedError(404, "Source is disabled")


def too_many_requests(retry_after_seconds: int) -> RefusedError:
    line = "Too many requests: max requests limit reached"
    return RefusedError(429, line, retry_after_seconds)


def unavailable(retry_after_seconds: int = 2) -> RefusedError:
    return RefusedError(503, "Service unavailable", retry_after_seconds)


def not_found() -> RefusedError:
    return RefusedError(404, "Not found")


def method_not_allowed(method: str) -> RefusedError:
    return RefusedError(405, f"Method not allowed: {method}")
