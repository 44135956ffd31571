from __future__ import annotations

import time


def wait_for(condition, seconds=120):
    """Until the condition holds; TimeoutError when it does not within the seconds.

    Generous, since a machine with other work to do needs longer: a test that fails may be slow.
    """
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.02)
