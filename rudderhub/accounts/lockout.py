"""Limits the number of wrong passwords.

Failures count per user name and address, per address, and per user name. The last limit alone
would let anybody lock a user out, so it does not apply to addresses from which the user has
logged in before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import HttpRequest
from redis.exceptions import RedisError

from sources.client_address import parsed_address, verified_address

logger = logging.getLogger(__name__)

FAILURES = 10
"""The limit per user name and address."""
FAILURES_IN_ALL = 50
"""The limit per address, and per user name."""
LOCKED_SECONDS = 15 * 60
KNOWN_SECONDS = 30 * 24 * 3600
IPV6_PREFIX = 64
"""The smallest network that a provider assigns to a customer."""


class LockOut:
    """An authentication backend before the others: refuses after too many failures.

    Nobody is locked out while the cache does not answer.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, **_: Any
    ) -> None:
        if _is_locked(request, username):
            logger.warning("log-in refused after too many failures")
            raise PermissionDenied


@receiver(user_login_failed)
def _count_failure(
    credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any
) -> None:
    username = credentials.get("username")
    if _is_locked(request, username):
        return  # the password was not checked
    try:
        for key, _most in _limits(request, username):
            cache.add(key, 0, timeout=LOCKED_SECONDS)
            cache.incr(key)
    except (RedisError, ValueError) as error:  # ValueError: the key has expired
        logger.warning("a failed log-in was not counted: %s", type(error).__name__)


@receiver(user_logged_in)
def _clear_failures(user: Any, request: HttpRequest, **_: Any) -> None:
    """Clear the failures of this user; those of the address still count, for other users."""
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
    """The keys of the counters in the cache, each with its limit."""
    network = _network(request)
    if network:
        yield f"login:address:{network}", FAILURES_IN_ALL
    if username:
        yield _pair_key(username, network), FAILURES
        if not cache.get(_known_key(username, network)):
            yield f"login:name:{_hex_name(username)}", FAILURES_IN_ALL


def _pair_key(username: str, network: str) -> str:
    return f"login:pair:{_hex_name(username)}:{network}"


def _known_key(username: str, network: str) -> str:
    return f"login:known:{_hex_name(username)}:{network}"


def _hex_name(username: str) -> str:
    """The name in a form that is valid in a cache key."""
    return username.lower().encode().hex()[:200]


def _network(request: HttpRequest | None) -> str:
    address = verified_address(request.META) if request else ""
    ip = parsed_address(address)
    if ip is None:
        return address
    bits = IPV6_PREFIX if ip.version == 6 else ip.max_prefixlen  # noqa: PLR2004
    return str(ip_network((ip, bits), strict=False))
