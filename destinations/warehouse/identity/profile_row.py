"""A row of rudder_profiles from the members of a profile."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from destinations.warehouse.identity.fold import Span, joined_span
from destinations.warehouse.identity.statements import USER_ID, Identifier, visible_text
from destinations.warehouse.identity.trait_facts import Facts, joined_facts, trait_values

MAX_LISTED = 100


class Member(NamedTuple):
    """An identifier with the activity and traits of events that have it as primary identifier."""

    identifier: Identifier
    first_received_at: datetime
    key: UUID
    activity: Span | None = None
    facts: Facts | None = None


class ProfileRow(NamedTuple):
    rudder_id: UUID
    user_id: str | None
    email: str | None
    name: str | None
    traits: dict[str, Any]
    identifiers: dict[str, list[str]]
    identifier_count: int
    first_seen_at: datetime
    last_seen_at: datetime


def profile_row(members: Sequence[Member], null_clears: bool) -> ProfileRow:
    """The row of a profile with these members, at least one."""
    members = sorted(members, key=lambda member: (member.first_received_at, member.key))
    facts: Facts = {}
    seen: Span | None = None
    identifiers: dict[str, list[str]] = {}
    for member in members:
        if member.facts:
            facts = joined_facts(facts, member.facts)
        if member.activity:
            seen = joined_span(seen, member.activity)
        listed = identifiers.setdefault(member.identifier.type, [])
        if len(listed) < MAX_LISTED:
            listed.append(member.identifier.value)
    traits = trait_values(facts, null_clears)
    oldest = members[0]
    first_seen_at, last_seen_at = seen or (oldest.first_received_at, oldest.first_received_at)
    return ProfileRow(
        rudder_id=oldest.key,
        user_id=_user_id(members),
        email=visible_text(traits.get("email")) or next(iter(identifiers.get("email", ())), None),
        name=_full_name(traits),
        traits=traits,
        identifiers=identifiers,
        identifier_count=len(members),
        first_seen_at=first_seen_at,
        last_seen_at=last_seen_at,
    )


def _user_id(members: Sequence[Member]) -> str | None:
    """The user_id of the latest event; without events, the user_id that was received last."""
    users = [member for member in members if member.identifier.type == USER_ID]
    if not users:
        return None
    return max(users, key=_recency).identifier.value


def _recency(user: Member) -> tuple[bool, datetime, str]:
    latest = user.activity[1] if user.activity else user.first_received_at
    return user.activity is not None, latest, user.identifier.value


def _full_name(traits: dict[str, Any]) -> str | None:
    if name := visible_text(traits.get("name")):
        return name
    first = visible_text(traits.get("firstName")) or visible_text(traits.get("firstname"))
    last = visible_text(traits.get("lastName")) or visible_text(traits.get("lastname"))
    return " ".join(part for part in (first, last) if part) or None
