"""What an accepted request does, in plain values: store durably, then ring the connections."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from events import log, rings
from events.log import LogUnavailableError
from events.spec import ParsedEvent

__all__ = ["LogUnavailableError", "accept"]


def accept(source_pk: int, received_at: datetime, events: Sequence[ParsedEvent]) -> None:
    """Returns when the events are committed; LogUnavailableError when they may not be."""
    if events:
        log.append(source_pk, received_at, events, settings.COMMIT_TIMEOUT_SECONDS)
        rings.ring(source_pk)
