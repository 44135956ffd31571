"""Statements of events about identities: identifiers, primary identifier and traits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple
from uuid import UUID

from destinations.warehouse.identity.block_list import DEFAULT_RULES, BlockList
from destinations.warehouse.json_text import without_nul

USER_ID = "user_id"
ANONYMOUS_ID = "anonymous_id"
MAX_MERGE_PROPERTIES = 32

_BEHAVIOUR = frozenset({"identify", "track", "page", "screen", "group"})
_SPELLINGS = {"userId": USER_ID, "anonymousId": ANONYMOUS_ID}
_RESERVED_TRAITS = frozenset({USER_ID, ANONYMOUS_ID, *_SPELLINGS})
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_NO_TRAITS: Mapping[str, Any] = {}


class MalformedMergeError(ValueError):
    """Raised for a merge call that cannot be read; the message names the wrong part."""


class Identifier(NamedTuple):
    type: str
    value: str


@dataclass(frozen=True)
class Rules:
    """The rules for identifiers: the block list, and the traits that are identifiers."""

    blocks: BlockList = field(default_factory=lambda: BlockList(DEFAULT_RULES))
    trait_identifiers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if refused := _RESERVED_TRAITS.intersection(self.trait_identifiers):
            raise ValueError(f"the trait {min(refused)!r} cannot be an identifier of its own type")


class Statement(NamedTuple):
    """The distinct identifiers that one event links, without blocked ones.

    The event and its traits belong to the profile of the primary identifier; with a group_id the
    traits belong to the account. blocked has the ids of the rules that blocked an identifier.
    """

    identifiers: tuple[Identifier, ...]
    primary: Identifier | None
    traits: Mapping[str, Any]
    event_time: datetime
    received_at: datetime
    message_id: str
    source_id: str
    group_id: str = ""
    blocked: tuple[int, ...] = ()


DEFAULTS = Rules()


@dataclass(frozen=True)
class GraphOptions:
    """Options for joining identifiers, stored with the graph. None switches a limit off."""

    hub_limit: int | None = 10
    size_limit: int | None = 5_000
    trait_identifiers: tuple[str, ...] = ()
    null_clears: bool = False


def statement(
    event: Mapping[str, Any], source_id: str, rules: Rules = DEFAULTS
) -> Statement | None:
    """The event's statement; None if it has no identifier.

    Raises MalformedMergeError for a malformed merge call, and ValueError for an event without a
    receivedAt.
    """
    kind = event.get("type")
    kind = kind.lower() if isinstance(kind, str) else ""
    own, linked = _stated_identifiers(kind, event, rules)
    if not own and not linked:
        return None
    identifiers: dict[Identifier, None] = {}
    blocked: list[int] = []
    primary = None
    for position, identifier in enumerate(chain(own, linked)):
        rule = rules.blocks.blocking_rule(*identifier)
        if rule is not None:
            blocked.append(rule)
            continue
        identifiers[identifier] = None
        if primary is None and position < len(own):
            primary = identifier
    received_at = _received_at(event)
    return Statement(
        identifiers=tuple(identifiers),
        primary=primary,
        traits=_traits(kind, event),
        event_time=event_time(event, received_at),
        received_at=received_at,
        message_id=visible_text(event.get("messageId")) or "",
        source_id=source_id,
        group_id=(visible_text(event.get("groupId")) or "") if kind == "group" else "",
        blocked=tuple(blocked),
    )


def visible_text(value: Any) -> str | None:
    """An identifier's value as text; None for null, structures and invisible texts.

    12.0 is "12" and true is "true". A text loses only characters that Postgres cannot store; it
    keeps its spaces, which the gateway strips from other texts.
    """
    if isinstance(value, str):
        if value.isascii() and value.isprintable():  # the usual case, fast
            return value if value.strip() else None
        text = value
    elif value is None or isinstance(value, dict | list):
        return None
    elif isinstance(value, bool):
        return "true" if value else "false"
    elif isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return str(int(value))
    else:
        return str(value)
    if not any(_is_visible(char) for char in text):
        return None
    return without_nul(text)


def node_key(salt: bytes, identifier: Identifier) -> UUID:
    """The key of an identifier, which is also the id of a profile in which it is the oldest."""
    text = f"\x1f{identifier.type}\x1f{identifier.value}"
    return UUID(bytes=sha256(salt + text.encode()).digest()[:16])


def event_time(event: Mapping[str, Any], received_at: datetime) -> datetime:
    """The event's timestamp, else its originalTimestamp corrected for the sender's clock."""
    own = _instant(event.get("timestamp"))
    if own is None:
        happened = _instant(event.get("originalTimestamp"))
        sent = _instant(event.get("sentAt")) or received_at
        try:
            own = received_at - (sent - happened) if happened else received_at
        except OverflowError:
            own = received_at
    beyond_milliseconds = own.microsecond % 1000
    return own.replace(microsecond=own.microsecond - beyond_milliseconds)


def _stated_identifiers(
    kind: str, event: Mapping[str, Any], rules: Rules
) -> tuple[list[Identifier], list[Identifier]]:
    """The candidates for the primary identifier in order, and the further identifiers."""
    if kind in _BEHAVIOUR:
        own = _ids(event)
        if kind == "identify" and rules.trait_identifiers:
            traits = _traits(kind, event)
            return own, [
                Identifier(name, value)
                for name in rules.trait_identifiers
                if (value := visible_text(traits.get(name))) is not None
            ]
        return own, []
    if kind == "alias":
        user, previous = visible_text(event.get("userId")), visible_text(event.get("previousId"))
        if user is None:
            return [], []
        return [Identifier(USER_ID, user)], [Identifier(USER_ID, previous)] if previous else []
    if kind == "merge":
        properties = _merge_properties(event.get("mergeProperties"))
        return [*_ids(event), *properties], []
    return [], []


def _ids(event: Mapping[str, Any]) -> list[Identifier]:
    ids = []
    if (user := visible_text(event.get("userId"))) is not None:
        ids.append(Identifier(USER_ID, user))
    if (anonymous := visible_text(event.get("anonymousId"))) is not None:
        ids.append(Identifier(ANONYMOUS_ID, anonymous))
    return ids


def _merge_properties(properties: Any) -> list[Identifier]:
    if not isinstance(properties, list):
        raise MalformedMergeError("mergeProperties is not a list")
    if not 1 <= len(properties) <= MAX_MERGE_PROPERTIES:
        raise MalformedMergeError(
            f"mergeProperties has {len(properties)} items, expected 1 to {MAX_MERGE_PROPERTIES}"
        )
    return [_merge_property(index, item) for index, item in enumerate(properties)]


def _merge_property(index: int, item: Any) -> Identifier:
    where = f"mergeProperties[{index}]"
    if not isinstance(item, dict):
        raise MalformedMergeError(f"{where} is not an object")
    kind = item.get("type")
    name = visible_text(kind) if isinstance(kind, str) else None
    if name is None:
        raise MalformedMergeError(f"{where}.type is not a text with a visible character")
    value = visible_text(item.get("value"))
    if value is None:
        raise MalformedMergeError(f"{where}.value is missing, blank, an object or a list")
    return Identifier(_SPELLINGS.get(name, name), value)


def _traits(kind: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The traits of an identify, which override those in its context, or of a group call."""
    if kind not in {"identify", "group"}:
        return _NO_TRAITS
    context = event.get("context") if kind == "identify" else None
    outer = context.get("traits") if isinstance(context, dict) else None
    merged: dict[str, Any] = {}
    for traits in (outer, event.get("traits")):
        if isinstance(traits, dict):
            merged.update(traits)
    return merged


def _received_at(event: Mapping[str, Any]) -> datetime:
    received_at = _instant(event.get("receivedAt"))
    if received_at is None:
        raise ValueError("receivedAt is missing or no timestamp")
    return received_at


def _instant(value: Any) -> datetime | None:
    """A time in ISO 8601, the only spelling in which the gateway stores times; None for no time."""
    if not isinstance(value, str):
        return None
    try:
        instant = datetime.fromisoformat(value)
        return instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _is_visible(char: str) -> bool:
    return char.isprintable() and not char.isspace() and char not in _FILLERS
