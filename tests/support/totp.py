"""What an authenticator app does with the key that it is given (RFC 6238)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time


def totp(secret, steps=0):
    """The six digits of now, or of so many half minutes later."""
    counter = int(time.time()) // 30 + steps
    digest = hmac.digest(base64.b32decode(secret), counter.to_bytes(8), hashlib.sha1)
    start = digest[-1] & 0xF
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"
