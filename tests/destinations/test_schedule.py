from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from destinations.interface import DestinationError
from destinations.schedule import Schedule, next_sync

HALF_HOURLY = Schedule(every_minutes=30)
FROM_TWO = Schedule(every_minutes=360, start_at=time(2, 0))
DAILY = Schedule(every_minutes=1440, start_at=time(2, 0))
UNEVEN = Schedule(every_minutes=1000, start_at=time(5, 0))
NIGHT = Schedule(exclude=(time(22, 0), time(6, 0)))
NOON = Schedule(exclude=(time(12, 0), time(13, 0)))
DAILY_BUT_NOT_AT_NIGHT = Schedule(1440, time(2, 0), (time(22, 0), time(6, 0)))


def at(text):
    """Of March 2026: "5 13:30" is the fifth at half past one."""
    day, clock = text.split()
    hour, minute = clock.split(":")
    return datetime(2026, 3, int(day), int(hour), int(minute), tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "last", "now", "due"),
    [
        (Schedule(), "5 11:59", "5 12:00", "5 12:00"),
        (HALF_HOURLY, None, "5 12:00", "5 12:00"),
        (HALF_HOURLY, "5 11:45", "5 12:00", "5 12:15"),
        (HALF_HOURLY, "5 11:30", "5 12:00", "5 12:00"),
        (HALF_HOURLY, "4 11:30", "5 12:00", "5 12:00"),
        (FROM_TWO, None, "5 12:00", "5 12:00"),
        (FROM_TWO, "5 08:00", "5 12:00", "5 14:00"),
        (FROM_TWO, "5 07:59", "5 12:00", "5 12:00"),
        (FROM_TWO, "5 08:01", "5 13:59", "5 14:00"),
        (FROM_TWO, "5 08:01", "5 14:00", "5 14:00"),
        (FROM_TWO, "5 20:00", "5 21:00", "6 02:00"),
        (FROM_TWO, "4 20:00", "5 01:59", "5 02:00"),
        (FROM_TWO, "4 19:59", "5 01:59", "5 01:59"),
        (DAILY, "5 02:00", "5 12:00", "6 02:00"),
        (DAILY, "4 23:00", "5 01:00", "5 02:00"),
        (DAILY, "4 23:00", "5 02:00", "5 02:00"),
        (UNEVEN, "5 05:00", "5 20:00", "5 21:40"),
        (UNEVEN, "5 21:40", "5 22:00", "6 05:00"),
        (NIGHT, None, "5 21:59", "5 21:59"),
        (NIGHT, None, "5 22:00", "6 06:00"),
        (NIGHT, None, "5 00:00", "5 06:00"),
        (NIGHT, None, "5 05:59", "5 06:00"),
        (NIGHT, None, "5 06:00", "5 06:00"),
        (NOON, None, "5 11:59", "5 11:59"),
        (NOON, None, "5 12:00", "5 13:00"),
        (NOON, None, "5 13:00", "5 13:00"),
        (DAILY_BUT_NOT_AT_NIGHT, "5 02:00", "5 12:00", "6 06:00"),
        (DAILY_BUT_NOT_AT_NIGHT, "5 06:00", "6 06:00", "6 06:00"),
    ],
)
def test_the_next_sync(schedule, last, now, due):
    assert next_sync(schedule, last and at(last), at(now)) == at(due)


@given(
    every=st.integers(1, 1440),
    start=st.none() | st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    last=st.integers(0, 3000),
    now=st.integers(0, 3000),
)
def test_a_sync_comes_at_the_latest_a_day_after_now(every, start, last, now):
    base = datetime(2026, 3, 1, tzinfo=UTC)
    earlier, later = sorted((base + timedelta(minutes=last), base + timedelta(minutes=now)))

    due = next_sync(Schedule(every, start), earlier, later)

    assert later <= due <= later + timedelta(days=1)


@pytest.mark.parametrize(
    ("config", "schedule"),
    [
        ({}, Schedule()),
        ({"syncFrequency": None, "syncStartAt": "", "excludeWindowStartTime": ""}, Schedule()),
        ({"syncFrequency": "30"}, HALF_HOURLY),
        ({"syncFrequency": 1440, "syncStartAt": "02:00"}, DAILY),
        ({"excludeWindowStartTime": "22:00", "excludeWindowEndTime": "06:00"}, NIGHT),
        ({"excludeWindowStartTime": "06:00", "excludeWindowEndTime": "06:00"}, Schedule()),
        (
            {"excludeWindowStartTime": "00:00", "excludeWindowEndTime": "01:00"},
            Schedule(exclude=(time(0), time(1))),
        ),
    ],
)
def test_a_config_gives_a_schedule(config, schedule):
    assert Schedule.from_config(config) == schedule


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"syncFrequency": "often"}, "syncFrequency is 'often', expected minutes from 0 to 1440"),
        ({"syncFrequency": 1441}, "syncFrequency is 1441"),
        ({"syncFrequency": -5}, "syncFrequency is -5"),
        ({"syncStartAt": "24:00"}, "syncStartAt is '24:00', expected HH:MM in UTC"),
        ({"syncStartAt": "2:00"}, "syncStartAt is '2:00'"),
        ({"excludeWindowStartTime": "22:00"}, "needs both a start and an end"),
    ],
)
def test_a_config_that_is_no_schedule_is_named(config, message):
    with pytest.raises(DestinationError, match=message):
        Schedule.from_config(config)


def test_without_frequency_and_window_loads_are_continuous():
    assert Schedule(start_at=time(2, 0)).is_continuous
    assert not HALF_HOURLY.is_continuous
    assert not NIGHT.is_continuous
