"""The sync schedule of a destination; without one, loads are continuous.

Rule: rudder-server's warehouse scheduler.
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
    """A frequency in minutes, 0 for none, and a window without syncs, without its end; in UTC."""

    every_minutes: int = 0
    start_at: time | None = None
    exclude: tuple[time, time] | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Schedule:
        """Reads RudderStack's keys of a destination's config; raises DestinationError."""
        start = _clock_time(config, "excludeWindowStartTime")
        end = _clock_time(config, "excludeWindowEndTime")
        if (start is None) != (end is None):
            raise DestinationError("the exclude window needs both a start and an end")
        return cls(
            _minutes(config.get("syncFrequency")),
            _clock_time(config, "syncStartAt"),
            None if start is None or end is None or start == end else (start, end),
        )

    @property
    def is_continuous(self) -> bool:
        return not self.every_minutes and self.exclude is None

    def __str__(self) -> str:
        frequency = f"every {self.every_minutes} min" if self.every_minutes else "continuously"
        since = f" from {self.start_at:%H:%M}" if self.every_minutes and self.start_at else ""
        if self.exclude is None:
            return frequency + since
        start, end = self.exclude
        return f"{frequency}{since}, not {start:%H:%M} to {end:%H:%M} UTC"


def next_sync(schedule: Schedule, last: datetime | None, now: datetime) -> datetime:
    """When the next sync may begin, `now` if it is due; `last` is the start of the last sync."""
    due = max(_due_by_frequency(schedule, last, now), now)
    return _time_outside_window(schedule.exclude, due)


def _due_by_frequency(schedule: Schedule, last: datetime | None, now: datetime) -> datetime:
    if last is None or not schedule.every_minutes:
        return now
    if schedule.start_at is None:
        return last + timedelta(minutes=schedule.every_minutes)
    slots = _slots(schedule.start_at, schedule.every_minutes, now)
    newest = max(slot for slot in slots if slot <= now)
    return now if last < newest else min(slot for slot in slots if slot > now)


def _slots(start_at: time, every_minutes: int, now: datetime) -> list[datetime]:
    """The slots of yesterday, today and tomorrow; each UTC day starts them again from start_at."""
    first = (start_at.hour * 60 + start_at.minute) % every_minutes
    today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)
    return [
        today + timedelta(days=day, minutes=minute)
        for day in (-1, 0, 1)
        for minute in range(first, DAY_MINUTES, every_minutes)
    ]


def _time_outside_window(window: tuple[time, time] | None, moment: datetime) -> datetime:
    """The moment, or the end of the window if it is inside; a window may wrap midnight."""
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


def _clock_time(config: Mapping[str, Any], name: str) -> time | None:
    value = config.get(name)
    if not value:
        return None
    match = _CLOCK.fullmatch(str(value))
    if not match:
        raise DestinationError(f"{name} is {value!r}, expected HH:MM in UTC")
    return time(int(match[1]), int(match[2]))
