"""What the pages of people show, each value through the veil."""

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
from destinations.postgres import guards, identity, reading, unmerge
from destinations.postgres.explain import JOINED, PathStep, explain
from destinations.warehouse.graph import CUT, IN_FORCE, REFUSED
from events.admin.graph_picture import GraphLayout, GraphLink, GraphNode, Pair, graph_layout
from events.admin.veil import Shown, Veil
from events.people import People
from sources.models import Source

EVENTS, MERGES, LISTED, DRAWN_FROM = 20, 50, 100, 1_000
WHY_APART = {CUT: "cut", REFUSED: "refused", IN_FORCE: "hub"}


class ShownLink(NamedTuple):
    a: Shown
    b: Shown
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
    a: Shown | None
    b: Shown | None
    message_id: str | None
    source: str
    received_at: datetime | None
    detail: str | None

    @property
    def keys(self) -> str:
        return f"{self.a.key} {self.b.key}" if self.a and self.b else ""


class ShownTrait(NamedTuple):
    """A value as text, the event that gave it, and the identifier that it was given for."""

    name: str
    value: str
    since: datetime
    message_id: str
    owner: Shown


@dataclass(frozen=True)
class Before:
    """Where a page of the timeline begins: after an event of an earlier page."""

    at: datetime | None = None
    message_id: str | None = None

    @classmethod
    def of(cls, data: Mapping[str, str]) -> Before:
        try:
            at = parse_datetime(data.get("before", ""))
        except ValueError:
            at = None
        return cls(at, data.get("after_id") or None) if at and at.tzinfo else cls()


class PeoplePages:
    """Reads what the pages show of one destination's people."""

    def __init__(self, opened: People, *, sees: bool) -> None:
        self._opened = opened
        self._conn, self._schema = opened.conn, opened.schema
        self._meta = identity.read_meta(opened.conn, opened.schema)
        self.veil = Veil(sees, self._meta.salt)
        self._sources = dict(Source.objects.values_list("public_id", "name"))

    def found(self, text: str) -> list[reading.ProfileRecord]:
        """Of a value, or of any id that a profile had; the newest when nothing is asked for."""
        if text:
            found = reading.find(self._conn, self._schema, text)
        else:
            found = reading.newest(self._conn, self._schema)
        return [self.veil.profile(each) for each in found]

    def profile(self, rudder_id: UUID, ends: tuple[str, str], before: Before) -> dict[str, Any]:
        """With the path between two ends when the second is given; the first may be left out."""
        found = reading.find(self._conn, self._schema, str(rudder_id))
        if not found:
            raise DestinationError("no profile has or had this id")
        now = found[0].rudder_id
        former = reading.former_ids(self._conn, self._schema, now)
        members = self._members(now)
        links = reading.links(self._conn, self._schema, now, DRAWN_FROM)
        start, end = ends
        steps = explain(self._conn, self._schema, start or str(now), end) if end else []
        return {
            "profile": self.veil.profile(found[0]),
            "former": former,
            "traits": self._traits(now),
            "identifiers": sorted(members[:LISTED], key=lambda each: each[0].rank),
            "links": [self._link(link) for link in links[:LISTED]],
            "picture": self._picture([each for each, _ in members], links, steps),
            "steps": self.steps(steps),
            "is_joined": all(step.outcome == JOINED for step in steps),
            **self._timeline([now, *former], before),
        }

    def rules(self, before: int | None) -> dict[str, Any]:
        """With the merge log before one of its entries, or its newest."""
        conn, schema = self._conn, self._schema
        return {
            "options": self._meta.options,
            "trait_identifiers": ", ".join(self._meta.options.trait_identifiers),
            "rules": [self._rule(rule) for rule in guards.rules(conn, schema)],
            "hubs": [self._hub(hub) for hub in guards.hubs(conn, schema)],
            "held": self._apart(REFUSED),
            "cuts": self._apart(CUT),
            **self._merges(before),
            "biggest": reading.biggest(conn, schema),
        }

    def steps(self, steps: Sequence[PathStep]) -> list[ShownStep]:
        return [
            ShownStep(
                step.outcome,
                self._end(step.from_type, step.from_value),
                self._end(step.to_type, step.to_value),
                step.message_id,
                self._source(step.source_id or ""),
                step.received_at,
                self.veil.text(step.detail) if step.outcome == "cut" else step.detail,
            )
            for step in steps
        ]

    def pair(self, pair: unmerge.Pair) -> tuple[Shown, Shown]:
        a, b = pair
        return self.veil.identifier(*a), self.veil.identifier(*b)

    def _members(self, rudder_id: UUID) -> list[tuple[Shown, reading.IdentifierRecord]]:
        found = reading.identifiers(self._conn, self._schema, rudder_id, DRAWN_FROM)
        return [(self.veil.identifier(each.type, each.value, each.key), each) for each in found]

    def _traits(self, rudder_id: UUID) -> list[ShownTrait]:
        found = reading.traits(self._conn, self._schema, rudder_id, self._meta.options.null_clears)
        return [
            ShownTrait(
                each.name,
                _text(self.veil.text(each.value)),
                datetime.fromisoformat(each.timestamp),
                each.message_id,
                self.veil.identifier(each.id_type, each.id_value),
            )
            for each in found
        ]

    def _link(self, link: reading.LinkRecord) -> ShownLink:
        return ShownLink(
            self.veil.identifier(link.type_a, link.value_a, link.key_a),
            self.veil.identifier(link.type_b, link.value_b, link.key_b),
            link.state,
            link.message_id,
            self._source(link.source_id),
            link.received_at,
        )

    def _picture(
        self,
        members: Sequence[Shown],
        links: Iterable[reading.LinkRecord],
        steps: Sequence[PathStep],
    ) -> GraphLayout | None:
        shown = [self._link(link) for link in links]
        inside = {each.key for each in members}
        nodes = [GraphNode(str(each.key), each.type, each.value) for each in members]
        outside = {end.key: end for link in shown for end in link[:2] if end.key not in inside}
        nodes += [GraphNode(str(k), each.type, each.value, False) for k, each in outside.items()]
        if len(nodes) == 1:
            return None
        path = {_keys(step.a, step.b) for step in self.steps(steps) if step.a and step.b}
        return graph_layout(nodes, [_drawn(link, inside) for link in shown], path)

    def _timeline(self, stamps: Sequence[UUID], before: Before) -> dict[str, Any]:
        found = reading.events(
            self._conn,
            self._opened.namespaces,
            stamps,
            before.at,
            EVENTS + 1,
            before_id=before.message_id,
        )
        older = ""
        if len(found) > EVENTS:
            last = found[EVENTS - 1]
            older = urlencode({"before": last.received_at.isoformat(), "after_id": last.message_id})
        return {"events": found[:EVENTS], "older": older, "is_older": before.at is not None}

    def _rule(self, rule: guards.ListedRule) -> guards.ListedRule:
        """An operator's value may be a person's; the default ones are nobody's."""
        if rule.actor == "default":
            return rule
        return rule._replace(exact=self.veil.text(rule.exact), pattern=self.veil.text(rule.pattern))

    def _hub(self, hub: guards.Hub) -> tuple[Shown, int, datetime]:
        return self.veil.identifier(hub.type, hub.value, hub.key), hub.degree, hub.since

    def _apart(self, state: str) -> list[tuple[Shown, Shown, unmerge.Apart]]:
        return [
            (
                self.veil.identifier(*each.a, each.key_a),
                self.veil.identifier(*each.b, each.key_b),
                each._replace(reason=self.veil.text(each.reason)),
            )
            for each in unmerge.listed(self._conn, self._schema, state)
        ]

    def _merges(self, before: int | None) -> dict[str, Any]:
        """A page of them."""
        found = reading.merge_log(self._conn, self._schema, most=MERGES + 1, before=before)
        log = self._with_ends(found[:MERGES])
        older = found[MERGES - 1].number if len(found) > MERGES else None
        return {"log": log, "older": older, "is_older": before is not None}

    def _with_ends(
        self, log: Sequence[reading.MergeRecord]
    ) -> list[tuple[reading.MergeRecord, list[Shown]]]:
        """Each with the ends of the link that made it, as far as they are still stored."""
        keys = {key for merge in log for key in (merge.key_a, merge.key_b)}
        named = reading.named(self._conn, self._schema, keys)
        return [
            (
                merge,
                [
                    self.veil.identifier(*named[key], key)
                    for key in dict.fromkeys((merge.key_a, merge.key_b))
                    if key in named
                ],
            )
            for merge in log
        ]

    def _end(self, kind: str | None, value: str | None) -> Shown | None:
        if value is None:
            return None
        return self.veil.identifier(kind or "", value)

    def _source(self, public_id: str) -> str:
        return self._sources.get(public_id, public_id)


def _text(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _keys(a: Shown, b: Shown) -> Pair:
    return frozenset((str(a.key), str(b.key)))


def _drawn(link: ShownLink, members: set[UUID]) -> GraphLink:
    joins = link.state == IN_FORCE and {link.a.key, link.b.key} <= members
    title = f"first seen in event {link.message_id} of {link.source}, {link.received_at:%F %T} UTC"
    return GraphLink(
        str(link.a.key),
        str(link.b.key),
        "joined" if joins else WHY_APART[link.state],
        link.message_id,
        title,
    )
