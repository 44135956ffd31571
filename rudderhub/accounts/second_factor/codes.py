"""A user's second factor: the codes of an authenticator app, and recovery codes for its loss.

A code works once. Postgres holds the last used code and the number of wrong codes since, beside
the secret, so that guesses are limited even while the cache does not answer.
"""

from __future__ import annotations

import time

from allauth.mfa.models import Authenticator
from allauth.mfa.utils import decrypt
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from events.workers import audit
from rudderhub.accounts.second_factor.totp import matching_step

FAILURES = 10
LOCKED_SECONDS = 15 * 60


def authenticator_app(user: User) -> Authenticator | None:
    """The authenticator app that the user has set up; None without one."""
    return _authenticators(user, Authenticator.Type.TOTP).first()


def recovery_codes(user: User) -> list[str]:
    """The recovery codes that the user has not used yet."""
    recovery = _authenticators(user, Authenticator.Type.RECOVERY_CODES).first()
    return recovery.wrap().get_unused_codes() if recovery else []


def use_code(user: User, code: str) -> Authenticator | None:
    """The authenticator of a right code; None if it is wrong, used or after too many wrong ones."""
    with transaction.atomic():
        app = _authenticators(user, Authenticator.Type.TOTP).select_for_update().first()
        if app is None or is_locked(app):
            return None
        used = _use_app_code(app, code) or _use_recovery_code(user, code)
        app.data["failures"] = 0 if used else app.data.get("failures", 0) + 1
        app.data["failed_at"] = time.time()
        app.save(update_fields=["data"])
    return used


def is_locked(app: Authenticator) -> bool:
    """Whether too many codes were wrong; after LOCKED_SECONDS one guess at a time is allowed."""
    is_recent = time.time() - app.data.get("failed_at", 0) < LOCKED_SECONDS
    return is_recent and app.data.get("failures", 0) >= FAILURES


def remove_second_factor(user: User, message: str, by: int | None = None) -> None:
    """Remove the app and the recovery codes; `by` is the key of the acting user, if not user."""
    with transaction.atomic():
        Authenticator.objects.filter(user=user).delete()
        audit.log_action(by or user.pk, user, message)


def _authenticators(user: User, kind: str) -> QuerySet[Authenticator]:
    return Authenticator.objects.filter(user=user, type=kind)


def _use_app_code(app: Authenticator, code: str) -> Authenticator | None:
    step = matching_step(decrypt(app.data["secret"]), code, time.time())
    if step is None or step <= app.data.get("last_counter", 0):
        return None
    app.data["last_counter"] = step
    return app


def _use_recovery_code(user: User, code: str) -> Authenticator | None:
    recovery = _authenticators(user, Authenticator.Type.RECOVERY_CODES).first()
    return recovery if recovery and recovery.wrap().validate_code(code) else None
