"""Measures the free disk space, because the gateway stops before Postgres fills the disk."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from django.conf import settings

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.0

_checked_at = -CHECK_SECONDS
_shortage = ""


def shortage() -> str:
    """The reason to accept no events, "" with enough space; measured at most once a second."""
    global _checked_at, _shortage  # noqa: PLW0603
    if time.monotonic() - _checked_at >= CHECK_SECONDS:
        _checked_at = time.monotonic()
        previous, _shortage = _shortage, _measured_shortage()
        if bool(_shortage) != bool(previous):
            logger.warning("%s", _shortage or "the disk of the data has room again")
    return _shortage


def expire_shortage() -> None:
    """Measure at the next call of shortage, for tests."""
    global _checked_at  # noqa: PLW0603
    _checked_at = -CHECK_SECONDS


def space_mb(folder: Path) -> tuple[int, int]:
    """The free and the total space of the folder's disk, in megabytes."""
    usage = shutil.disk_usage(folder)
    return usage.free // 1_000_000, usage.total // 1_000_000


def _measured_shortage() -> str:
    if settings.DATA_DIR is None:
        return ""
    free, _ = space_mb(settings.DATA_DIR)
    if free >= settings.MIN_FREE_MB:
        return ""
    return (
        f"the disk of the data has {free} MB left, "
        f"fewer than RUDDERHUB_MIN_FREE_MB={settings.MIN_FREE_MB}"
    )
