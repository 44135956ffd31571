"""Folds a chunk's statements, so that each identifier and link appears once, at its earliest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from typing import NamedTuple

from destinations.warehouse.identity.statements import Identifier, Statement
from destinations.warehouse.identity.trait_facts import Facts, joined_facts, stated_facts

Span = tuple[datetime, datetime]


class Sighting(NamedTuple):
    """The first event that stated an identifier or a link."""

    received_at: datetime
    message_id: str
    source_id: str


@dataclass
class AccountFacts:
    """Traits and activity of one group, and the primary identifiers of its group calls."""

    facts: Facts
    seen: Span
    members: dict[Identifier, Span] = field(default_factory=dict)


@dataclass
class FoldedChunk:
    """The folded statements.

    `links` has each pair of identifiers in one order; an identifier that an event states alone is
    paired with itself.
    """

    sightings: dict[Identifier, Sighting] = field(default_factory=dict)
    links: dict[tuple[Identifier, Identifier], Sighting] = field(default_factory=dict)
    activity: dict[Identifier, Span] = field(default_factory=dict)
    facts: dict[Identifier, Facts] = field(default_factory=dict)
    accounts: dict[str, AccountFacts] = field(default_factory=dict)
    hits: Counter[int] = field(default_factory=Counter)


def fold_statements(
    statements: Sequence[Statement], hidden: Collection[Identifier] = ()
) -> FoldedChunk:
    """Fold statements; links connect only identifiers that are not hidden."""
    folded = FoldedChunk()
    for stated in _distinct_statements(statements):
        folded.hits.update(stated.blocked)
        _fold_links(folded, stated, hidden)
        if stated.primary is not None and stated.primary not in hidden:
            _fold_primary(folded, stated, stated.primary)
    return folded


def _distinct_statements(statements: Sequence[Statement]) -> Iterable[Statement]:
    """The statements without repetitions: per source and messageId the one received first."""
    distinct: dict[tuple[str, str, int], Statement] = {}
    for position, stated in enumerate(statements):
        key = (stated.message_id, stated.source_id, 0 if stated.message_id else position)
        earlier = distinct.get(key)
        if earlier is None or stated.received_at < earlier.received_at:
            distinct[key] = stated
    return distinct.values()


def _fold_links(folded: FoldedChunk, stated: Statement, hidden: Collection[Identifier]) -> None:
    identifiers: Sequence[Identifier] = stated.identifiers
    if hidden:
        identifiers = [identifier for identifier in identifiers if identifier not in hidden]
    sighting = Sighting(stated.received_at, stated.message_id, stated.source_id)
    sightings, links = folded.sightings, folded.links
    for identifier in identifiers:
        earlier = sightings.get(identifier)
        if earlier is None or sighting < earlier:
            sightings[identifier] = sighting
    if len(identifiers) == 1:
        pairs: Iterable[tuple[Identifier, Identifier]] = [(identifiers[0], identifiers[0])]
    else:
        pairs = combinations(sorted(identifiers), 2)
    for pair in pairs:
        earlier = links.get(pair)
        if earlier is None or sighting < earlier:
            links[pair] = sighting


def _fold_primary(folded: FoldedChunk, stated: Statement, primary: Identifier) -> None:
    moment = (stated.event_time, stated.event_time)
    folded.activity[primary] = joined_span(folded.activity.get(primary), moment)
    if stated.group_id:
        facts = _facts(stated)
        account = folded.accounts.setdefault(stated.group_id, AccountFacts({}, moment))
        account.facts = joined_facts(account.facts, facts)
        account.seen = joined_span(account.seen, moment)
        account.members[primary] = joined_span(account.members.get(primary), moment)
    elif stated.traits:
        facts = _facts(stated)
        earlier = folded.facts.get(primary)
        folded.facts[primary] = facts if earlier is None else joined_facts(earlier, facts)


def joined_span(span: Span | None, other: Span) -> Span:
    """The shortest span that contains both."""
    return other if span is None else (min(span[0], other[0]), max(span[1], other[1]))


def _facts(stated: Statement) -> Facts:
    return stated_facts(stated.traits, stated.event_time, stated.received_at, stated.message_id)
