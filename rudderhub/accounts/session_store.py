"""Who is logged in, and from where.

The table holds a hash of the key that a browser has: nobody who reads it can act as that browser.
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
"""In a session: when, from which address and with which browser."""
LONGEST_BROWSER = 200
BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
"""As they name themselves; the later ones are named by the earlier ones, too."""
SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


class SessionStore(DatabaseStore):
    """For SESSION_ENGINE; Django's, with the key hashed on its way to the table."""

    def _get_session_from_db(self) -> AbstractBaseSession | None:
        key = stored_key(self.session_key or "")
        found = self.model.objects.filter(session_key=key, expire_date__gt=timezone.now()).first()
        if found is None:
            self._session_key = None
        return found

    def exists(self, session_key: str) -> bool:
        return super().exists(stored_key(session_key))

    def create_model_instance(self, data: Any) -> AbstractBaseSession:
        made = super().create_model_instance(data)
        made.session_key = stored_key(made.session_key)
        return made

    def delete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            super().delete(stored_key(key))


def stored_key(key: str) -> str:
    """As long as a key may be."""
    return sha256(key.encode()).hexdigest()[:40]


def browser_name(agent: str) -> str:
    """In a few words, as far as the header of a browser tells it: "Firefox, Linux"."""
    browser = next((name for name in BROWSERS if f"{name}/" in agent), "")
    system = next((name for name in SYSTEMS if name in agent), "")
    return ", ".join(name for name in (browser, system) if name) or agent


@receiver(user_logged_in)
def _note_origin(request: HttpRequest, **_: Any) -> None:
    request.session[ORIGIN] = {
        "at": timezone.now().isoformat(),
        "address": verified_address(request.META),
        "browser": request.META.get("HTTP_USER_AGENT", "")[:LONGEST_BROWSER],
    }
