"""Traits as facts, which join to the same result in any order and however often.

A fact is [value, event time, receivedAt, messageId]; the greatest (event time, receivedAt,
messageId) wins. Facts are {name: [winner]}, or {name: [null winner, winner that is not null]}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from destinations.warehouse.json_text import json_text

Fact = list[Any]
Facts = dict[str, list[Fact]]


def stated_facts(
    traits: Mapping[str, Any], event_time: datetime, received_at: datetime, message_id: str
) -> Facts:
    when = [_text(event_time), _text(received_at), message_id]
    return {name: [[value, *when]] for name, value in traits.items()}


def joined_facts(facts: Facts, other: Facts) -> Facts:
    """The winning facts of both sides; the arguments stay unchanged."""
    joined = dict(facts)
    for name, theirs in other.items():
        ours = joined.get(name)
        joined[name] = theirs if ours is None or ours == theirs else winning_facts([*ours, *theirs])
    return joined


def trait_values(facts: Facts, null_clears: bool) -> dict[str, Any]:
    """The traits by name. A null is ignored, or with null_clears removes the trait."""
    place = 0 if null_clears else -1
    winners = {name: stated[place][0] for name, stated in sorted(facts.items())}
    return {name: value for name, value in winners.items() if value is not None}


def winning_facts(candidates: Iterable[Fact]) -> list[Fact]:
    """The latest fact of one trait and, if that is null, the latest that is not null."""
    ordered = sorted(candidates, key=lambda fact: (fact[1:], json_text(fact[0])), reverse=True)
    if ordered[0][0] is not None:
        return ordered[:1]
    return [ordered[0], *[fact for fact in ordered if fact[0] is not None][:1]]


def _text(instant: datetime) -> str:
    """The instant as text of one width, so that texts compare like instants."""
    return instant.isoformat(timespec="microseconds")
