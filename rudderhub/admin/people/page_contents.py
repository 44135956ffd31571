"""The contents of the pages of people, masked as the user's permissions require."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

from django.utils.dateparse import parse_datetime

from destinations.interface import DestinationError
from destinations.postgres.identity import graph_schema
from destinations.postgres.operations import guards, unmerge
from destinations.postgres.reads import profiles as reads_profiles
from destinations.postgres.reads.explain import JOINED, PathStep, explain
from destinations.warehouse.identity.union import CUT, IN_FORCE, REFUSED
from events.people.store import IdentityStore
from rudderhub.admin.people.graph_layout import GraphLayout, GraphLink, GraphNode, graph_layout
from rudderhub.admin.people.redaction import Redaction, ShownIdentifier
from sources.models import Source

EVENTS, MERGES, LISTED, DRAWN_FROM = 20, 50, 100, 1_000
WHY_APART = {CUT: "cut", REFUSED: "refused", IN_FORCE: "hub"}


class ShownLink(NamedTuple):
    a: ShownIdentifier
    b: ShownIdentifier
    state: str
    message_id: str
    source: str
    received_at: datetime

    @property
    def keys(self) -> str:
        return f"{self.a.key} {self.b.key}"


class ShownStep(NamedTuple):
    """A link of a path, or a reason why there is none."""

    outcome: str
    a: ShownIdentifier | None
    b: ShownIdentifier | None
    message_id: str | None
    source: str
    received_at: datetime | None
    detail: str | None

    @property
    def keys(self) -> str:
        return f"{self.a.key} {self.b.key}" if self.a and self.b else ""


class ShownTrait(NamedTuple):
    """A trait: its value as text, the event it comes from, and the identifier it belongs to."""

    name: str
    value: str
    since: datetime
    message_id: str
    owner: ShownIdentifier


@dataclass(frozen=True)
class TimelineStart:
    """The event after which a page of the timeline begins: the last one of the page before."""

    at: datetime | None = None
    message_id: str | None = None

    @classmethod
    def of_query(cls, query: Mapping[str, str]) -> TimelineStart:
        try:
            at = parse_datetime(query.get("before", ""))
        except ValueError:
            at = None
        return cls(at, query.get("after_id") or None) if at and at.tzinfo else cls()


class PageContents:
    """Reads the contents of the pages about the people of one destination."""

    def __init__(self, identities: IdentityStore, *, sees: bool) -> None:
        self._namespaces = identities.namespaces
        self._conn, self._schema = identities.conn, identities.schema
        self._meta = graph_schema.read_meta(self._conn, self._schema)
        self.redaction = Redaction(sees, self._meta.salt)
        self._sources = dict(Source.objects.values_list("public_id", "name"))

    def search(self, text: str) -> list[reads_profiles.ProfileRecord]:
        """Profiles with this value or this id, current or previous; the newest without a text."""
        if text:
            profiles = reads_profiles.find_profiles(self._conn, self._schema, text)
        else:
            profiles = reads_profiles.newest_profiles(self._conn, self._schema)
        return [self.redaction.profile(profile) for profile in profiles]

    def profile(
        self, rudder_id: UUID, ends: tuple[str, str], before: TimelineStart
    ) -> dict[str, Any]:
        """A profile, with the path between two ends if the second one is given."""
        profiles = reads_profiles.find_profiles(self._conn, self._schema, str(rudder_id))
        if not profiles:
            raise DestinationError("no profile has or had this id")
        current = profiles[0].rudder_id
        former = reads_profiles.former_ids(self._conn, self._schema, current)
        members = self._members(current)
        links = reads_profiles.links(self._conn, self._schema, current, DRAWN_FROM)
        start, end = ends
        steps = explain(self._conn, self._schema, start or str(current), end) if end else []
        return {
            "profile": self.redaction.profile(profiles[0]),
            "former": former,
            "traits": self._traits(current),
            "identifiers": sorted(members[:LISTED], key=lambda member: member[0].rank),
            "links": [self._link(link) for link in links[:LISTED]],
            "picture": self._graph([identifier for identifier, _ in members], links, steps),
            "steps": self.steps(steps),
            "is_joined": all(step.outcome == JOINED for step in steps),
            **self._timeline([current, *former], before),
        }

    def rules(self, before: int | None) -> dict[str, Any]:
        """The merge rules, hubs and cuts, and the merge log before one of its entries."""
        conn, schema = self._conn, self._schema
        return {
            "options": self._meta.options,
            "trait_identifiers": ", ".join(self._meta.options.trait_identifiers),
            "rules": [self._rule(rule) for rule in guards.listed_rules(conn, schema)],
            "hubs": [
                (self.redaction.identifier(hub.type, hub.value, hub.key), hub.degree, hub.since)
                for hub in guards.largest_hubs(conn, schema)
            ],
            "blocked": self._separated_pairs(REFUSED),
            "cuts": self._separated_pairs(CUT),
            **self._merges(before),
            "biggest": reads_profiles.biggest_profiles(conn, schema),
        }

    def steps(self, steps: Sequence[PathStep]) -> list[ShownStep]:
        return [
            ShownStep(
                step.outcome,
                self._identifier(step.from_type, step.from_value),
                self._identifier(step.to_type, step.to_value),
                step.message_id,
                self._source_name(step.source_id or ""),
                step.received_at,
                self.redaction.text(step.detail) if step.outcome == "cut" else step.detail,
            )
            for step in steps
        ]

    def pair(self, pair: unmerge.Pair) -> tuple[ShownIdentifier, ShownIdentifier]:
        a, b = pair
        return self.redaction.identifier(*a), self.redaction.identifier(*b)

    def _members(
        self, rudder_id: UUID
    ) -> list[tuple[ShownIdentifier, reads_profiles.IdentifierRecord]]:
        records = reads_profiles.identifiers(self._conn, self._schema, rudder_id, DRAWN_FROM)
        return [
            (self.redaction.identifier(record.type, record.value, record.key), record)
            for record in records
        ]

    def _traits(self, rudder_id: UUID) -> list[ShownTrait]:
        null_clears = self._meta.options.null_clears
        traits = reads_profiles.winning_traits(self._conn, self._schema, rudder_id, null_clears)
        return [
            ShownTrait(
                trait.name,
                _value_text(self.redaction.text(trait.value)),
                datetime.fromisoformat(trait.timestamp),
                trait.message_id,
                self.redaction.identifier(trait.id_type, trait.id_value),
            )
            for trait in traits
        ]

    def _link(self, link: reads_profiles.LinkRecord) -> ShownLink:
        return ShownLink(
            self.redaction.identifier(link.type_a, link.value_a, link.key_a),
            self.redaction.identifier(link.type_b, link.value_b, link.key_b),
            link.state,
            link.message_id,
            self._source_name(link.source_id),
            link.received_at,
        )

    def _graph(
        self,
        members: Sequence[ShownIdentifier],
        links: Iterable[reads_profiles.LinkRecord],
        steps: Sequence[PathStep],
    ) -> GraphLayout | None:
        shown = [self._link(link) for link in links]
        inside = {member.key for member in members}
        nodes = [GraphNode(str(member.key), member.type, member.value) for member in members]
        outside = {end.key: end for link in shown for end in link[:2] if end.key not in inside}
        nodes += [GraphNode(str(key), end.type, end.value, False) for key, end in outside.items()]
        if len(nodes) == 1:
            return None
        path = {frozenset(step.keys.split()) for step in self.steps(steps) if step.keys}
        return graph_layout(nodes, [_graph_link(link, inside) for link in shown], path)

    def _timeline(self, rudder_ids: Sequence[UUID], before: TimelineStart) -> dict[str, Any]:
        events = reads_profiles.timeline(
            self._conn,
            self._namespaces,
            rudder_ids,
            before.at,
            EVENTS + 1,
            before_id=before.message_id,
        )
        older = ""
        if len(events) > EVENTS:
            last = events[EVENTS - 1]
            older = urlencode({"before": last.received_at.isoformat(), "after_id": last.message_id})
        return {"events": events[:EVENTS], "older": older, "is_older": before.at is not None}

    def _rule(self, rule: guards.ListedRule) -> guards.ListedRule:
        """A rule with its values masked, unless it is a default: those are never personal."""
        if rule.actor == "default":
            return rule
        return rule._replace(
            exact=self.redaction.text(rule.exact), pattern=self.redaction.text(rule.pattern)
        )

    def _separated_pairs(
        self, state: str
    ) -> list[tuple[ShownIdentifier, ShownIdentifier, unmerge.InactiveLink]]:
        return [
            (
                self.redaction.identifier(*pair.a, pair.key_a),
                self.redaction.identifier(*pair.b, pair.key_b),
                pair._replace(reason=self.redaction.text(pair.reason)),
            )
            for pair in unmerge.inactive_links(self._conn, self._schema, state)
        ]

    def _merges(self, before: int | None) -> dict[str, Any]:
        merges = reads_profiles.merge_log(self._conn, self._schema, most=MERGES + 1, before=before)
        log = self._merges_with_ends(merges[:MERGES])
        older = merges[MERGES - 1].number if len(merges) > MERGES else None
        return {"log": log, "older": older, "is_older": before is not None}

    def _merges_with_ends(
        self, log: Sequence[reads_profiles.MergeRecord]
    ) -> list[tuple[reads_profiles.MergeRecord, list[ShownIdentifier]]]:
        """Each merge with the ends of the link that caused it, if they are still stored."""
        keys = {key for merge in log for key in (merge.key_a, merge.key_b)}
        named = reads_profiles.identifiers_by_key(self._conn, self._schema, keys)
        return [
            (
                merge,
                [
                    self.redaction.identifier(*named[key], key)
                    for key in dict.fromkeys((merge.key_a, merge.key_b))
                    if key in named
                ],
            )
            for merge in log
        ]

    def _identifier(self, kind: str | None, value: str | None) -> ShownIdentifier | None:
        if value is None:
            return None
        return self.redaction.identifier(kind or "", value)

    def _source_name(self, public_id: str) -> str:
        return self._sources.get(public_id, public_id)


def _value_text(value: Any) -> str:
    """A string as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _graph_link(link: ShownLink, members: set[UUID]) -> GraphLink:
    joins = link.state == IN_FORCE and {link.a.key, link.b.key} <= members
    title = f"first seen in event {link.message_id} of {link.source}, {link.received_at:%F %T} UTC"
    return GraphLink(
        str(link.a.key),
        str(link.b.key),
        "joined" if joins else WHY_APART[link.state],
        link.message_id,
        title,
    )
