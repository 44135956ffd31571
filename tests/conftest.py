from __future__ import annotations

import pytest

from tests.running import RunningInstance


@pytest.fixture(scope="session")
def instance():
    """A running instance that the whole session shares; leave its parts running."""
    running = RunningInstance()
    try:
        running.start()
        yield running
    finally:
        running.stop()
