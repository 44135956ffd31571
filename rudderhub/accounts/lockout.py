"""An end to guessing passwords.

Failures count for a user name at an address, for an address, and for a user name wherever it is
tried. The last limit would let anybody lock a user out: it does not hold where the user has
logged in from before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest
from redis.exceptions import RedisError

from sources.client_address import is_address, verified_address

logger = logging.getLogger(__name__)

FAILURES = 10
"""Of a user name at an address."""
FAILURES_IN_ALL = 50
"""Of an address with whatever names, and of a user name from wherever."""
LOCKED_SECONDS = 15 * 60
KNOWN_SECONDS = 30 * 24 * 3600
IPV6_PREFIX = 64
"""What one customer of a network provider gets at least."""


class LockOut:
    """Refuses after too many failures; stands before the other backends.

    While the cache is away nobody is locked out.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, **_: Any
    ) -> None:
        if _is_locked(request, username):
            logger.warning("log-in refused after too many failures")
            raise PermissionDenied


@receiver(user_login_failed)
def _count(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    username = credentials.get("username")
    if _is_locked(request, username):
        return  # it was not tried
    try:
        for key, _most in _limits(request, username):
            cache.add(key, 0, timeout=LOCKED_SECONDS)
            cache.incr(key)
    except (RedisError, ValueError) as error:  # ValueError: it has just run out
        logger.warning("a failed log-in was not counted: %s", type(error).__name__)


@receiver(user_logged_in)
def _clear(user: Any, request: HttpRequest, **_: Any) -> None:
    """Whoever knows the password was not guessing; the address may still guess others."""
    name, network = user.get_username(), _network(request)
    try:
        cache.delete(_pair_key(name, network))
        cache.set(_known_key(name, network), 1, timeout=KNOWN_SECONDS)
    except RedisError as error:
        logger.warning("failed log-ins were not cleared: %s", type(error).__name__)


def _is_locked(request: HttpRequest | None, username: str | None) -> bool:
    try:
        return any(int(cache.get(key, 0)) >= most for key, most in _limits(request, username))
    except RedisError as error:
        logger.warning("failed log-ins are not known: %s", type(error).__name__)
        return False


def _limits(request: HttpRequest | None, username: str | None) -> Iterator[tuple[str, int]]:
    network = _network(request)
    if network:
        yield f"login:address:{network}", FAILURES_IN_ALL
    if username:
        yield _pair_key(username, network), FAILURES
        if not cache.get(_known_key(username, network)):
            yield f"login:name:{_digits(username)}", FAILURES_IN_ALL


def _pair_key(username: str, network: str) -> str:
    return f"login:pair:{_digits(username)}:{network}"


def _known_key(username: str, network: str) -> str:
    return f"login:known:{_digits(username)}:{network}"


def _digits(username: str) -> str:
    """Letters and digits, whatever the name holds."""
    return username.lower().encode().hex()[:200]


def _network(request: HttpRequest | None) -> str:
    address = verified_address(request.META) if request else ""
    if not is_address(address):
        return address
    found = ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    bits = IPV6_PREFIX if found.version == 6 else found.max_prefixlen  # noqa: PLR2004
    return str(ip_network((found, bits), strict=False))
