"""Logs the number of refusals per status, once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter

logger = logging.getLogger(__name__)

LINE_SECONDS = 60.0

_counts: Counter[int] = Counter()
_since = time.monotonic()
_lock = threading.Lock()


def count_refusal(status: int) -> None:
    """Count a refusal; the first one after a minute logs the counts and resets them."""
    global _since  # noqa: PLW0603
    with _lock:
        _counts[status] += 1
        seconds = time.monotonic() - _since
        if seconds < LINE_SECONDS:
            return
        line = " ".join(f"{status}={number}" for status, number in sorted(_counts.items()))
        _counts.clear()
        _since = time.monotonic()
    logger.info("refused in %d s: %s", seconds, line)
