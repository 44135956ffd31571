"""Messages as the gateway stores them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from events.protocol.event import ParsedEvent

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TEN = NOW.replace(hour=10)
TIMES = ("receivedAt", "sentAt", "originalTimestamp", "timestamp")


def event(message_id, kind="track", received_at=NOW, **fields):
    """A message that was sent and received at one time.

    The number n stands for the message m<n>, n seconds after ten.
    """
    if isinstance(message_id, int):
        message_id, received_at = f"m{message_id}", TEN + timedelta(seconds=message_id)
    times = dict.fromkeys(TIMES, timestamp_text(received_at))
    return {"type": kind, "messageId": message_id, **times, **fields}


def track(message_id, received_at=NOW, **fields):
    """A click of the user u1, unless the fields name another event or user."""
    return event(message_id, "track", received_at, **{"userId": "u1", "event": "Clicked", **fields})


def identify(message_id, user_id="u1", received_at=NOW, **traits):
    return event(message_id, "identify", received_at, userId=user_id, traits=traits)


def moment(number):
    """The number-th second of a day."""
    return NOW.replace(hour=0) + timedelta(seconds=number)


def timestamp_text(time):
    """The time as messages have it."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parsed_event(event):
    """An event as the gateway or a replay stores it."""
    payload = {key: value for key, value in event.items() if key != "source"}
    texts = {
        name: "" if event.get(name) is None else str(event[name]) for name in ("type", "event")
    }
    user_id, anonymous_id = (
        "" if not isinstance(event.get(key), str | int | float) else str(event[key])
        for key in ("userId", "anonymousId")
    )
    return ParsedEvent(
        message_id=event["messageId"],
        user_id=user_id.replace("\0", ""),
        anonymous_id=anonymous_id.replace("\0", ""),
        payload=json.dumps(payload).replace("\\u0000", ""),
        **texts,
    )
