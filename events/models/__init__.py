"""The models of events, where Django and callers import them from."""

from __future__ import annotations

from events.models.loads import (
    DeadLetter,
    LetterState,
    Load,
    LoadState,
    Loss,
    Replay,
    ReplayState,
    Standing,
    new_cursor_id,
)
from events.models.log import Event, LogMark, MinuteCount, SdkSeen
from events.models.quarantine import Quarantined

__all__ = [
    "DeadLetter",
    "Event",
    "LetterState",
    "Load",
    "LoadState",
    "LogMark",
    "Loss",
    "MinuteCount",
    "Quarantined",
    "Replay",
    "ReplayState",
    "SdkSeen",
    "Standing",
    "new_cursor_id",
]
