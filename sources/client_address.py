"""Finds the client's address; a header counts only if a trusted proxy sent it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.conf import settings


def client_address(environ: Mapping[str, Any]) -> str:
    """The address that the client states through a trusted proxy, or the peer's."""
    peer = str(environ.get("REMOTE_ADDR", ""))
    forwarded = environ.get("HTTP_X_FORWARDED_FOR")
    if not forwarded:
        return peer
    first = str(forwarded).partition(",")[0].strip()
    trusted = is_trusted_proxy(peer)
    return first if trusted and parsed_address(first) else peer


def verified_address(environ: Mapping[str, Any]) -> str:
    """The address nearest to the client that a trusted proxy has seen itself.

    Addresses further left in X-Forwarded-For come from the client and are ignored.
    """
    forwarded = str(environ.get("HTTP_X_FORWARDED_FOR") or "")
    hops = [hop.strip() for hop in forwarded.split(",")] if forwarded else []
    address = str(environ.get("REMOTE_ADDR", ""))
    while hops and is_trusted_proxy(address) and parsed_address(hops[-1]):
        address = hops.pop()
    return address


@lru_cache(maxsize=4096)
def parsed_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address of a text, as IPv4 if it is mapped into IPv6; None for any other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted_proxy(peer: str) -> bool:
    return _is_in_networks(peer, tuple(settings.TRUSTED_PROXIES))


@lru_cache(maxsize=4096)
def _is_in_networks(peer: str, networks: tuple[str, ...]) -> bool:
    address = parsed_address(peer)
    return address is not None and any(
        address in ip_network(network, strict=False) for network in networks
    )
