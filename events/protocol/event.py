"""Checks events and completes them with what the gateway knows, in plain values.

An event of the wrong shape raises InvalidEventError; every other event is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from destinations.warehouse.identity.statements import MAX_MERGE_PROPERTIES
from events.protocol.text import (
    cleaned_text,
    dumps,
    format_time,
    is_missing,
    member_text,
    parse_time,
    time_text,
)

BATCH_TYPES = frozenset({"identify", "track", "page", "screen", "group", "alias", "merge"})
INTERNAL_TYPES = BATCH_TYPES | {"extract", "audiencelist", "record"}

REQUIRED_MEMBERS: dict[str, tuple[str, ...]] = {
    "track": ("event",),
    "group": ("groupId",),
    "alias": ("previousId", "userId"),
}


class InvalidRequestError(ValueError):
    """The sender made a mistake in the request; the text is the detail of the answer."""


class InvalidEventError(InvalidRequestError):
    """The sender made a mistake in one event; position is its index in the batch, from 0."""

    def __init__(self, detail: str, position: int | None = None) -> None:
        super().__init__(detail if position is None else f"{detail} (batch[{position}])")
        self.detail = detail
        self.position = position


class EventTooLargeError(InvalidEventError):
    """The event is over the limit of its source."""

    @classmethod
    def from_limit(cls, max_bytes: int) -> EventTooLargeError:
        return cls(f"request size exceeds max limit of {max_bytes} bytes for one event")


@dataclass(frozen=True, slots=True)
class ParsedEvent:
    """An accepted event; payload is the whole event as compact JSON."""

    message_id: str
    type: str
    event: str
    user_id: str
    anonymous_id: str
    payload: str


@dataclass(frozen=True)
class Envelope:
    """The values that the events of one request share.

    max_event_bytes is None when the whole request is no larger than one event may be.
    removed_members are not stored. With keeps_receipt an event keeps its own receivedAt, because
    history is being replayed.
    """

    received_at: datetime
    request_ip: str
    new_id: Callable[[], str]
    max_event_bytes: int | None = None
    sent_at: str | None = None
    types: frozenset[str] = BATCH_TYPES
    removed_members: tuple[str, ...] = ()
    keeps_receipt: bool = False
    destination_id: str | None = None

    @cached_property
    def received_text(self) -> str:
        return format_time(self.received_at)


def batch_events(body: Any) -> list[Any]:
    """The events of a batch request; an object in place of the list is one event."""
    batch = body.get("batch") if isinstance(body, dict) else None
    events = batch if isinstance(batch, list) else [batch]
    if batch is None or not events:
        raise InvalidRequestError("empty batch payload")
    return events


def parse_batch(
    events: Sequence[Any],
    parse: Callable[[Any], ParsedEvent],
    keep_invalid: Callable[[Any, InvalidEventError], None] | None = None,
) -> list[ParsedEvent]:
    """The accepted events; keep_invalid takes invalid ones, else the first raises its error."""
    parsed: list[ParsedEvent] = []
    for position, event in enumerate(events):
        try:
            parsed.append(parse(event))
        except InvalidEventError as error:
            placed = type(error)(error.detail, position)
            if keep_invalid is None:
                raise placed from error
            keep_invalid(event, placed)
    return parsed


def parse_event(event: Any, event_type: str | None, envelope: Envelope) -> ParsedEvent:
    """The event as it is stored, of event_type or its own type; changed once it is valid."""
    if not isinstance(event, dict):
        raise InvalidEventError("event is not a valid rudder event")
    event_type = event_type or own_type(event, envelope.types)
    check_size(event, envelope.max_event_bytes)
    _check_members(event, event_type)
    _fill_members(event, event_type, envelope)
    return ParsedEvent(
        message_id=event["messageId"],
        type=event_type,
        event=member_text(event.get("event")),
        user_id=member_text(event.get("userId")),
        anonymous_id=member_text(event.get("anonymousId")),
        payload=dumps(event),
    )


def check_size(event: Any, max_bytes: int | None) -> None:
    if max_bytes is not None and len(dumps(event).encode()) > max_bytes:
        raise EventTooLargeError.from_limit(max_bytes)


def own_type(event: dict[str, Any], types: frozenset[str]) -> str:
    event_type = event.get("type")
    if is_missing(event_type):
        raise InvalidEventError("type is missing or blank")
    if isinstance(event_type, str) and (known_type := event_type.lower()) in types:
        return known_type
    raise InvalidEventError(f"type must be one of {', '.join(sorted(types))}")


def _check_members(event: dict[str, Any], event_type: str) -> None:
    has_no_id = is_missing(event.get("userId")) and is_missing(event.get("anonymousId"))
    if has_no_id and event_type != "extract":
        raise InvalidEventError("request neither has anonymousId nor userId")
    for name in REQUIRED_MEMBERS.get(event_type, ()):
        if is_missing(event.get(name)):
            raise InvalidEventError(f"{name} is missing or blank")
    if event_type == "merge":
        _check_merge_properties(event.get("mergeProperties"))


def _check_merge_properties(properties: Any) -> None:
    if not isinstance(properties, list) or not properties:
        raise InvalidEventError("mergeProperties must be a list with one or more objects")
    if len(properties) > MAX_MERGE_PROPERTIES:
        raise InvalidEventError(
            f"mergeProperties has {len(properties)} objects, the most is {MAX_MERGE_PROPERTIES}"
        )
    for number, item in enumerate(properties):
        if not isinstance(item, dict):
            raise InvalidEventError(f"mergeProperties[{number}] must be an object")
        for name in ("type", "value"):
            if is_missing(item.get(name)):
                raise InvalidEventError(f"mergeProperties[{number}].{name} is missing or blank")
        if not isinstance(item["type"], str):
            raise InvalidEventError(f"mergeProperties[{number}].type must be text")
        if isinstance(item["value"], dict | list):
            raise InvalidEventError(f"mergeProperties[{number}].value must be text or a number")


def _fill_members(event: dict[str, Any], event_type: str, envelope: Envelope) -> None:
    for name in envelope.removed_members:
        event.pop(name, None)
    event["type"] = event_type
    own_id = event.get("messageId")
    message_id = cleaned_text(own_id) if isinstance(own_id, str) else ""
    event["messageId"] = message_id or envelope.new_id()
    own_ip = event.get("request_ip")
    if not isinstance(own_ip, str) or is_missing(own_ip):
        event["request_ip"] = envelope.request_ip
    received_at = time_text(event.get("receivedAt")) if envelope.keeps_receipt else None
    _fill_times(event, received_at or envelope.received_text, envelope.sent_at)
    if envelope.destination_id is not None:
        event["rudderDestinationId"] = envelope.destination_id


def _fill_times(event: dict[str, Any], received_at: str, envelope_sent_at: str | None) -> None:
    """Fills in the times of an event; received_at has the form of time_text already."""
    sent_at = time_text(event.get("sentAt")) or time_text(envelope_sent_at)
    original_timestamp = time_text(event.get("originalTimestamp"))
    timestamp = time_text(event.get("timestamp"))
    event["receivedAt"] = received_at
    event["sentAt"] = sent_at or received_at
    event["originalTimestamp"] = original_timestamp or received_at
    event["timestamp"] = timestamp or _corrected_timestamp(received_at, original_timestamp, sent_at)


def _corrected_timestamp(
    received_at: str, original_timestamp: str | None, sent_at: str | None
) -> str:
    """The time of an event by our clock: the client's error cancels out of sent - original."""
    if original_timestamp is None:
        return received_at
    if sent_at is None:
        return original_timestamp
    received, original, sent = map(parse_time, (received_at, original_timestamp, sent_at))
    if received is None or original is None or sent is None:
        raise AssertionError("times of the stored form are readable")
    try:
        return format_time(received - (sent - original))
    except OverflowError:  # the client's clock is thousands of years off
        return received_at
