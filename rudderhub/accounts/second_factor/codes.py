"""A user's second factor: the codes of an authenticator app, and recovery codes for its loss.

A code works once. What was used last and how many wrong codes came since stands in Postgres,
beside the secret: guessing stays limited while the cache is away.
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


def app_of(user: User) -> Authenticator | None:
    """The authenticator app that the user has set up."""
    return _held(user, Authenticator.Type.TOTP).first()


def recovery_codes(user: User) -> list[str]:
    """Those not used yet."""
    kept = _held(user, Authenticator.Type.RECOVERY_CODES).first()
    return kept.wrap().get_unused_codes() if kept else []


def use_code(user: User, code: str) -> Authenticator | None:
    """What the code is of; None when it is wrong or used, or too many wrong ones came before."""
    with transaction.atomic():
        app = _held(user, Authenticator.Type.TOTP).select_for_update().first()
        if app is None or waits(app):
            return None
        used = _use_app_code(app, code) or _use_recovery_code(user, code)
        app.data["failures"] = 0 if used else app.data.get("failures", 0) + 1
        app.data["failed_at"] = time.time()
        app.save(update_fields=["data"])
    return used


def waits(app: Authenticator) -> bool:
    """After too many wrong codes no code is taken for a while, then one guess at a time."""
    is_recent = time.time() - app.data.get("failed_at", 0) < LOCKED_SECONDS
    return is_recent and app.data.get("failures", 0) >= FAILURES


def reset(user: User, message: str, by: int | None = None) -> None:
    """Take the second factor away: the user logs in with the password alone."""
    with transaction.atomic():
        Authenticator.objects.filter(user=user).delete()
        note(user, message, by)


def note(user: User, message: str, by: int | None = None) -> None:
    """A line of the audit log; by is the key of whoever did it, when it was not the user."""
    audit.log_action(by or user.pk, user, message)


def _held(user: User, kind: str) -> QuerySet[Authenticator]:
    return Authenticator.objects.filter(user=user, type=kind)


def _use_app_code(app: Authenticator, code: str) -> Authenticator | None:
    step = matching_step(decrypt(app.data["secret"]), code, time.time())
    if step is None or step <= app.data.get("last_counter", 0):
        return None
    app.data["last_counter"] = step
    return app


def _use_recovery_code(user: User, code: str) -> Authenticator | None:
    kept = _held(user, Authenticator.Type.RECOVERY_CODES).first()
    return kept if kept and kept.wrap().validate_code(code) else None
