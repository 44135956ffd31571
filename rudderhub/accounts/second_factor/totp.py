"""Time-based one-time passwords, as authenticator apps show them (RFC 6238)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

STEP_SECONDS = 30
TOLERANCE_STEPS = 1  # a clock may be off by half a minute
DIGITS = 6


def new_secret() -> str:
    """160 random bits in base32, which authenticator apps read."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def matching_step(secret: str, code: str, at_seconds: float) -> int | None:
    """The number of the time step that the code belongs to; None for a wrong or old code.

    Spaces and punctuation in the code do not count.
    """
    typed = "".join(filter(str.isalnum, code)).encode()
    now = int(at_seconds) // STEP_SECONDS
    steps = range(now - TOLERANCE_STEPS, now + TOLERANCE_STEPS + 1)
    return next((step for step in steps if hmac.compare_digest(_code(secret, step), typed)), None)


def _code(secret: str, step: int) -> bytes:
    """The six digits of a time step (RFC 4226, section 5.3)."""
    digest = hmac.digest(base64.b32decode(secret), step.to_bytes(8), hashlib.sha1)
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4]) & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}}".encode()
