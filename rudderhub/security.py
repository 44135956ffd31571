"""What browsers may do with the admin's pages, and an end to guessing passwords."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse
from redis.exceptions import RedisError

from sources.addresses import client_address

logger = logging.getLogger(__name__)

POLICY = (
    "default-src 'self'; "
    "script-src 'self' 'unsafe-eval'; "  # Alpine, which the admin's look is made with, evaluates
    "style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
FAILURES = 10
LOCKED_SECONDS = 15 * 60


class PolicyMiddleware:
    """The content security policy, on every page that Django renders."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if request.path_info.startswith(("/admin/", "/setup/")):
            response.headers["Content-Security-Policy"] = POLICY
            response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
            response.headers.setdefault("Cache-Control", "no-store")
        return response


class LockOut:
    """Refuses a user name, or an address, after too many failures; stands before the others.

    While the cache is away nobody is locked out.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, **_: Any
    ) -> None:
        if any(_failures(key) >= FAILURES for key in _keys(request, username)):
            logger.warning("log-in refused after %d failures", FAILURES)
            raise PermissionDenied


@receiver(user_login_failed)
def _count(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    try:
        for key in _keys(request, credentials.get("username")):
            cache.add(key, 0, timeout=LOCKED_SECONDS)
            cache.incr(key)
    except (RedisError, ValueError) as error:  # ValueError: it has just run out
        logger.warning("a failed log-in was not counted: %s", type(error).__name__)


@receiver(user_logged_in)
def _clear(user: Any, **_: Any) -> None:
    """Whoever knows the password was not guessing; the address may still guess others."""
    try:
        cache.delete(_name_key(user.get_username()))
    except RedisError as error:
        logger.warning("failed log-ins were not cleared: %s", type(error).__name__)


def _failures(key: str) -> int:
    try:
        return int(cache.get(key, 0))
    except RedisError as error:
        logger.warning("failed log-ins are not known: %s", type(error).__name__)
        return 0


def _keys(request: HttpRequest | None, username: str | None) -> list[str]:
    keys = [_name_key(username)] if username else []
    if request is not None:
        keys.append(f"login:address:{client_address(request.META)}")
    return keys


def _name_key(username: str) -> str:
    """A key of letters and digits, whatever the name holds."""
    return f"login:name:{username.lower().encode().hex()[:200]}"
