"""Traits as facts: of each name the latest value, and the latest that is not null.

A fact is [value, event time, receivedAt, messageId]; the greatest (event time, receivedAt,
messageId) wins. Facts are kept as {name: [winner]}, or {name: [null winner, winning non-null]}.
Joining is commutative, associative and idempotent, so that order and repetition do not matter.
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
    """Both sides' facts; neither argument is changed."""
    joined = dict(facts)
    for name, theirs in other.items():
        ours = joined.get(name)
        joined[name] = theirs if ours is None or ours == theirs else winning_facts([*ours, *theirs])
    return joined


def trait_values(facts: Facts, null_clears: bool) -> dict[str, Any]:
    """The traits that the facts give, by name: nulls are left out, or hide what came before."""
    found = {
        name: kept[0][0] if null_clears else kept[-1][0] for name, kept in sorted(facts.items())
    }
    return {name: value for name, value in found.items() if value is not None}


def winning_facts(candidates: Iterable[Fact]) -> list[Fact]:
    """Of facts of one name those that are kept."""
    ordered = sorted(candidates, key=lambda fact: (fact[1:], json_text(fact[0])), reverse=True)
    if ordered[0][0] is not None:
        return ordered[:1]
    return [ordered[0], *[fact for fact in ordered if fact[0] is not None][:1]]


def _text(instant: datetime) -> str:
    """In UTC and of one width, so that texts compare as instants do."""
    return instant.isoformat(timespec="microseconds")
