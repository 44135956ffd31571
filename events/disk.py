"""Room on the disk of the embedded Postgres: none is taken in before it would run full."""

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
    """What is wrong, "" while there is room enough; looked at once a second at most."""
    global _checked_at, _shortage  # noqa: PLW0603
    if time.monotonic() - _checked_at >= CHECK_SECONDS:
        _checked_at = time.monotonic()
        before, _shortage = _shortage, _look()
        if bool(_shortage) != bool(before):
            logger.warning("%s", _shortage or "the disk of the data has room again")
    return _shortage


def forget() -> None:
    """Look again at the next question."""
    global _checked_at  # noqa: PLW0603
    _checked_at = -CHECK_SECONDS


def space_mb(folder: Path) -> tuple[int, int]:
    """What is free and what there is."""
    usage = shutil.disk_usage(folder)
    return usage.free // 1_000_000, usage.total // 1_000_000


def _look() -> str:
    if settings.DATA_DIR is None:
        return ""
    free, _ = space_mb(settings.DATA_DIR)
    if free >= settings.MIN_FREE_MB:
        return ""
    return (
        f"the disk of the data has {free} MB left, "
        f"fewer than RUDDERHUB_MIN_FREE_MB={settings.MIN_FREE_MB}"
    )
