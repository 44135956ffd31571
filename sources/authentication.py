"""Authenticates requests: finds the source of their credentials, which becomes request.auth."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from django.conf import settings
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from sources import key_usage, rate_limits, refusals
from sources.client_address import verified_address
from sources.refusals import RefusedError
from sources.snapshot import SourceInfo, current_snapshot

Authenticated = tuple[None, SourceInfo]


class WriteKeyAuthentication(BaseAuthentication):
    """Finds the write key in the user name of basic auth."""

    def authenticate(self, request: Request) -> Authenticated:
        return _authenticated(request, basic_key(request.META), refusals.MISSING_KEY)


class QueryKeyAuthentication(BaseAuthentication):
    """Finds the write key in the query's writeKey; headers are ignored."""

    def authenticate(self, request: Request) -> Authenticated:
        return _authenticated(request, query_key(request.META), refusals.MISSING_QUERY_KEY)


class WebhookAuthentication(BaseAuthentication):
    """Finds the write key in the query's writeKey, or in the user name of basic auth."""

    def authenticate(self, request: Request) -> Authenticated:
        key = query_key(request.META) or basic_key(request.META)
        return _authenticated(request, key, refusals.MISSING_QUERY_KEY)


class SourceIdAuthentication(BaseAuthentication):
    """Finds the source by its id in a header or basic auth, and checks the internal token."""

    def authenticate(self, request: Request) -> Authenticated:
        user, password = basic_credentials(request.META.get("HTTP_AUTHORIZATION", "")) or ("", "")
        source_id = request.META.get("HTTP_X_RUDDER_SOURCE_ID", "").strip() or user
        if not source_id:
            raise RefusedError(*refusals.MISSING_SOURCE_ID)
        if not _has_valid_token(password, request.META.get("HTTP_X_INTERNAL_TOKEN", "")):
            raise _unknown_key_refusal(refusals.INVALID_INTERNAL_TOKEN, request.META)
        source = current_snapshot().source_of_id(source_id)
        if source is None:
            raise _unknown_key_refusal(refusals.INVALID_SOURCE_ID, request.META)
        return None, source


def source_of_key(key: str, environ: Mapping[str, Any]) -> SourceInfo:
    """The source of an active write key; raises RefusedError for any other key."""
    key_info = current_snapshot().active_key(key, timezone.now())
    if key_info is None:
        raise _unknown_key_refusal(refusals.INVALID_KEY, environ)
    key_usage.record_key_use(key_info.pk)
    return key_info.source


def basic_credentials(header: str) -> tuple[str, str] | None:
    """User name and password; None without a user name or for another scheme."""
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(token.strip(), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return None
    user, colon, password = decoded.partition(":")
    return (user, password) if colon and user else None


def basic_key(environ: Mapping[str, Any]) -> str:
    """The write key in the user name of basic auth; "" when there is none."""
    credentials = basic_credentials(environ.get("HTTP_AUTHORIZATION", ""))
    return credentials[0] if credentials else ""


def query_key(environ: Mapping[str, Any]) -> str:
    """The first writeKey of the query string; "" when there is none."""
    for part in environ.get("QUERY_STRING", "").split("&"):
        name, _, value = part.partition("=")
        if name == "writeKey":
            return unquote_to_bytes(value.replace("+", " ")).decode(errors="replace")
    return ""


def _authenticated(request: Request, key: str, refusal: tuple[int, str]) -> Authenticated:
    """The result of an authentication by write key; without a key it raises the refusal."""
    if not key:
        raise RefusedError(*refusal)
    return None, source_of_key(key, request.META)


def _has_valid_token(*candidates: str) -> bool:
    token = settings.INTERNAL_TOKEN.encode()
    return not token or any(secrets.compare_digest(token, text.encode()) for text in candidates)


def _unknown_key_refusal(refusal: tuple[int, str], environ: Mapping[str, Any]) -> RefusedError:
    """The refusal, or "too many requests" for an address that has guessed too often."""
    wait = rate_limits.seconds_to_wait_after_unknown_key(verified_address(environ))
    return refusals.too_many_requests(wait) if wait else RefusedError(*refusal)
