"""When a destination with a sync schedule is loaded; without one, loads are continuous.

Rule: rudder-server's warehouse scheduler. No clock and no database here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from destinations.interface import DestinationError

DAY_MINUTES = 24 * 60
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True)
class Schedule:
    """Times are in UTC. 0 minutes: no frequency. The end of the window is outside of it."""

    every_minutes: int = 0
    start_at: time | None = None
    exclude: tuple[time, time] | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Schedule:
        """From a destination's config, spelt as RudderStack spells it."""
        start = _clock("excludeWindowStartTime", config.get("excludeWindowStartTime"))
        end = _clock("excludeWindowEndTime", config.get("excludeWindowEndTime"))
        if (start is None) != (end is None):
            raise DestinationError("the exclude window needs both a start and an end")
        return cls(
            _minutes(config.get("syncFrequency")),
            _clock("syncStartAt", config.get("syncStartAt")),
            None if start is None or end is None or start == end else (start, end),
        )

    @property
    def is_continuous(self) -> bool:
        return not self.every_minutes and self.exclude is None

    def __str__(self) -> str:
        often = f"every {self.every_minutes} min" if self.every_minutes else "continuously"
        since = f" from {self.start_at:%H:%M}" if self.every_minutes and self.start_at else ""
        if self.exclude is None:
            return often + since
        start, end = self.exclude
        return f"{often}{since}, not {start:%H:%M} to {end:%H:%M} UTC"


def next_sync(schedule: Schedule, last: datetime | None, now: datetime) -> datetime:
    """When the next sync may begin: `now` itself when it is due. `last` is when the last began."""
    due = max(_by_frequency(schedule, last, now), now)
    return _end_of_window(schedule.exclude, due)


def _by_frequency(schedule: Schedule, last: datetime | None, now: datetime) -> datetime:
    if last is None or not schedule.every_minutes:
        return now
    if schedule.start_at is None:
        return last + timedelta(minutes=schedule.every_minutes)
    slots = _slots(schedule.start_at, schedule.every_minutes, now)
    newest = max(slot for slot in slots if slot <= now)
    return now if last < newest else min(slot for slot in slots if slot > now)


def _slots(start_at: time, every_minutes: int, now: datetime) -> list[datetime]:
    """Of yesterday, today and tomorrow: start_at and its multiples, anew each UTC day."""
    first = (start_at.hour * 60 + start_at.minute) % every_minutes
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return [
        today + timedelta(days=day, minutes=minute)
        for day in (-1, 0, 1)
        for minute in range(first, DAY_MINUTES, every_minutes)
    ]


def _end_of_window(window: tuple[time, time] | None, moment: datetime) -> datetime:
    """The moment itself when it is outside of the window, which may wrap midnight."""
    if window is None:
        return moment
    start, end = window
    at = moment.astimezone(UTC).time()
    inside = start <= at < end if start < end else at >= start or at < end
    if not inside:
        return moment
    ends = datetime.combine(moment.astimezone(UTC).date(), end, UTC)
    return ends if ends > moment else ends + timedelta(days=1)


def _minutes(value: Any) -> int:
    text = str(value or 0).strip()
    if not text.isdecimal() or not text.isascii() or int(text) > DAY_MINUTES:
        raise DestinationError(f"syncFrequency is {value!r}, expected minutes from 0 to 1440")
    return int(text)


def _clock(name: str, value: Any) -> time | None:
    if not value:
        return None
    found = _CLOCK.fullmatch(str(value))
    if not found:
        raise DestinationError(f"{name} is {value!r}, expected HH:MM in UTC")
    return time(int(found[1]), int(found[2]))
