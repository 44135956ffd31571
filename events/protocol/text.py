"""Reads text and times as senders write them."""

from __future__ import annotations

import email.utils
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0\U0001d159"
)
_MILLISECOND_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_LOOSE_TIME = re.compile(
    r"(?P<date>\d{4}-\d\d(?:-\d\d)?)"
    r"(?:[T ](?P<hour>\d\d):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?P<fraction>[.,]\d+)?)?"
    r" ?(?P<zone>Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?(?: UTC)?)?",
    re.ASCII,
)
_ORDINAL_DATE = re.compile(r"(\d{4})-?(\d{3})(?=T|$)", re.ASCII)
_MAIL_TIME = re.compile(
    r"(?:[A-Za-z]{3,9},? )?\d{1,2}[ -][A-Za-z]{3}[ -](?:\d{2}|\d{4})"
    r" \d\d:\d\d(?::\d\d)?(?: (?:[A-Z]{1,3}|[+-]\d{4}))?",
    re.ASCII,
)


def cleaned_text(text: str) -> str:
    """The text without unprintable and invisible characters and outer white space."""
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    return "".join(c for c in text if c.isprintable() and c not in _INVISIBLE).strip(" ")


def is_missing(value: Any) -> bool:
    """Whether a member is null or blank text.

    The transform's is_blank is another rule: white space fills a column, an empty list does not.
    """
    return value is None or (isinstance(value, str) and not cleaned_text(value))


def member_text(value: Any) -> str:
    """A member as text: null gives "", and what is not text gives its compact JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else dumps(value)


def dumps(value: Any) -> str:
    """Compact JSON; integers beyond 64 bits are written in full."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return _dumps_any_integer(value)


def parse_time(value: Any) -> datetime | None:
    """The time that a sender wrote, in UTC; None for what is not text or not a time.

    This is for the times of events. RudderStack's rule for properties, datatypes.timestamp, reads
    fewer spellings.
    """
    if not isinstance(value, str):
        return None
    try:
        return _in_utc(datetime.fromisoformat(value))
    except (ValueError, OverflowError):
        return _parse_loosely(value)


def time_text(value: Any) -> str | None:
    """The sender's time as it is stored: 2020-02-02T00:23:09.544Z; None for what is no time."""
    if isinstance(value, str) and len(value) == 24 and _MILLISECOND_TIME.fullmatch(value):  # noqa: PLR2004
        try:
            datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            return value
    time = parse_time(value)
    return None if time is None else format_time(time)


def format_time(time: datetime) -> str:
    """A time in UTC with milliseconds and Z; further digits are cut off."""
    return time.isoformat(timespec="milliseconds")[:-6] + "Z"


def _parse_loosely(value: str) -> datetime | None:
    text = cleaned_text(value)
    try:
        if _MAIL_TIME.fullmatch(text):
            return _in_utc(email.utils.parsedate_to_datetime(text))
        return _parse_iso_spelling(text)
    except (ValueError, OverflowError):
        return None


def _parse_iso_spelling(text: str) -> datetime:
    """Reads ISO spellings that Python does not: 24:00, a leap second, 2020-033, "… +0000 UTC"."""
    text = text.upper().replace("/", "-")
    if ordinal := _ORDINAL_DATE.match(text):
        day = datetime(int(ordinal[1]), 1, 1) + timedelta(days=int(ordinal[2]) - 1)  # noqa: DTZ001
        text = f"{day:%Y-%m-%d}{text[ordinal.end() :]}"
    parts = _LOOSE_TIME.fullmatch(text)
    if not parts:
        raise ValueError(f"{text!r} is no time")
    date = parts["date"] if len(parts["date"]) > len("2020-01") else parts["date"] + "-01"
    zone = (parts["zone"] or "Z").replace("UTC", "Z").replace("GMT", "Z")
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    carry = timedelta(days=int(hour == 24), seconds=int(second == 60))  # noqa: PLR2004
    clock = f"{hour % 24:02}:{minute:02}:{min(second, 59):02}{parts['fraction'] or ''}"
    return _in_utc(datetime.fromisoformat(f"{date}T{clock}{zone}") + carry)


def _in_utc(time: datetime) -> datetime:
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _dumps_any_integer(value: Any) -> str:
    if isinstance(value, dict):
        members = (f"{dumps(key)}:{_dumps_any_integer(item)}" for key, item in value.items())
        return "{" + ",".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dumps_any_integer, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return orjson.dumps(value).decode()
