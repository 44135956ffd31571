"""Accepts events: stores them durably, then wakes the connections of their source."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.conf import settings

from events.log import writer
from events.protocol.event import ParsedEvent
from events.workers import queue


def accept_events(source_pk: int, received_at: datetime, events: Sequence[ParsedEvent]) -> None:
    """Return when the events are committed; raise LogUnavailableError if they may not be."""
    if events:
        writer.append(source_pk, received_at, events, settings.COMMIT_TIMEOUT_SECONDS)
        queue.enqueue_loads(source_pk)
