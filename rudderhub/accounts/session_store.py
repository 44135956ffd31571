"""Sessions of logged-in browsers, with their origin.

The table holds hashes of the browsers' keys, so that its readers cannot use the sessions.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.base_session import AbstractBaseSession
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone

from sources.client_address import verified_address

ORIGIN = "logged_in_from"
"""The session's key for the time, address and browser of the log-in."""
LONGEST_BROWSER = 200
BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
"""The names in their headers; the header of an earlier one also has those of later ones."""
SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


class SessionStore(DatabaseStore):
    """Django's store for SESSION_ENGINE, but with hashed keys in the table."""

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        key = stored_key(self.session_key or "")
        session = self.model.objects.filter(session_key=key, expire_date__gt=timezone.now()).first()
        if session is None:
            self._session_key = None
        return session

    def exists(self, session_key: str) -> bool:
        return super().exists(stored_key(session_key))

    def create_model_instance(self, data: Any) -> AbstractBaseSession:
        session = super().create_model_instance(data)
        session.session_key = stored_key(session.session_key)
        return session

    def delete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            super().delete(stored_key(key))


def stored_key(key: str) -> str:
    """The hash of a browser's key, cut to the length of the column."""
    return sha256(key.encode()).hexdigest()[:40]


def browser_name(agent: str) -> str:
    """The browser and system of a User-Agent header, such as "Firefox, Linux", else the header."""
    browser = next((name for name in BROWSERS if f"{name}/" in agent), "")
    system = next((name for name in SYSTEMS if name in agent), "")
    return ", ".join(name for name in (browser, system) if name) or agent


@receiver(user_logged_in)
def _store_origin(request: HttpRequest, **_: Any) -> None:
    request.session[ORIGIN] = {
        "at": timezone.now().isoformat(),
        "address": verified_address(request.META),
        "browser": request.META.get("HTTP_USER_AGENT", "")[:LONGEST_BROWSER],
    }
