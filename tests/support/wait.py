from __future__ import annotations

import time


def wait_for(condition, seconds):
    """Until the condition holds; TimeoutError when it does not within the seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)
