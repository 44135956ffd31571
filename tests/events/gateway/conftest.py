from __future__ import annotations

import pytest
from django.core.cache import cache

from events.gateway import disk_space
from events.log import writer
from events.workers import queue
from sources import rate_limits


@pytest.fixture
def fresh_process():
    """The state of a web process that has just started."""
    cache.clear()
    yield
    rate_limits.reset_limits()
    disk_space.expire_shortage()
    writer.close_writer()
    queue.close_enqueuer()
