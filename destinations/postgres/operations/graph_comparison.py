"""Computes the graph from its links again and compares the stored graph with it."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

from destinations.postgres.identity import graph_schema, profile_rows
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import query
from destinations.postgres.operations.guards import ALL_ROOTS
from destinations.postgres.operations.operation import any_plan
from destinations.warehouse.identity.full_partition import Partition, StoredGroups
from destinations.warehouse.identity.statements import (
    ANONYMOUS_ID,
    USER_ID,
    Identifier,
    Rules,
    node_key,
)

BATCH = 2_000
SHOWN = 100
NO_ROOT, UNSEEN = -1, -2

NODES = """
SELECT node_id, comp_id, (extract(epoch FROM first_received_at) * 1000000)::bigint,
    uuid_send(node_key), id_type, id_value
FROM {schema}.identity_node
ORDER BY node_id
"""
EDGES = """
SELECT node_a, node_b, state::text FROM {schema}.identity_edge WHERE node_a <> node_b
"""
COMPONENTS = """
SELECT comp_id, root_id, size, (extract(epoch FROM anchor_at) * 1000000)::bigint,
    uuid_send(rudder_id)
FROM {schema}.identity_component
ORDER BY comp_id
"""
PUBLISHED = """
SELECT k.rudder_id, a.comp_id, n.node_id
FROM (
    SELECT old_rudder_id AS rudder_id FROM {schema}.identity_alias
    UNION
    SELECT old_rudder_id FROM {schema}.identity_merge_log
    UNION
    SELECT rudder_id FROM {schema}.identity_component WHERE rudder_id IS NOT NULL
) k
LEFT JOIN {schema}.identity_alias a ON a.old_rudder_id = k.rudder_id
LEFT JOIN {schema}.identity_node n ON n.node_key = k.rudder_id
"""
STALE_ROOTS = """
SELECT coalesce(c.root_id, s.comp_id)
FROM {schema}.identity_stale s
LEFT JOIN {schema}.identity_component c ON c.comp_id = s.comp_id
"""
PROFILES = """
SELECT p.rudder_id, p.user_id, p.email, p.name, p.traits::text, p.identifiers::text,
    p.identifier_count, p.first_seen_at, p.last_seen_at
FROM unnest(%b::uuid[]) k (rudder_id)
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.rudder_profiles WHERE rudder_id = k.rudder_id OFFSET 0
) p
"""
EXTRA_PROFILES = """
SELECT p.rudder_id
FROM {schema}.rudder_profiles p
WHERE NOT EXISTS (
    SELECT
    FROM {schema}.identity_node n
    LEFT JOIN {schema}.identity_component c ON c.comp_id = n.comp_id
    LEFT JOIN {schema}.identity_component r ON r.comp_id = c.root_id
    WHERE n.node_key = p.rudder_id AND coalesce(r.rudder_id, n.node_key) = p.rudder_id
        AND NOT EXISTS (SELECT FROM {schema}.identity_blocked b WHERE b.node_id = n.node_id)
)
"""
T = TypeVar("T")


@dataclass(frozen=True)
class Difference:
    """A stored fact that contradicts the links; holds keys and numbers, never values."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass
class RebuildPlan:
    """The changes that make the stored graph equal to the computed one."""

    differences: list[Difference] = field(default_factory=list)
    blocked_to_delete: list[int] = field(default_factory=list)
    hubs_to_delete: list[int] = field(default_factory=list)
    profiles_to_delete: list[UUID] = field(default_factory=list)
    has_wrong_groups: bool = False
    """Whether groups or aliases differ, so that all of them are written again."""
    aliases: list[tuple[UUID, int]] = field(default_factory=list)
    hubs: dict[int, int] = field(default_factory=dict)
    hide: dict[int, int] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)

    def add_difference(self, kind: str, detail: str) -> None:
        if len(self.differences) < SHOWN:
            self.differences.append(Difference(kind, detail))

    def add_wrong_group(self, kind: str, detail: str) -> None:
        self.has_wrong_groups = True
        self.add_difference(kind, detail)


class GraphComparison:
    """Joins all links in force with union-find and compares the result with the stored graph."""

    def __init__(self, graph: Graph, meta: graph_schema.Meta, rules: Rules) -> None:
        self._graph = graph
        self._meta = meta
        self._rules = rules
        self.plan = RebuildPlan()
        self.partition = Partition()
        self.comp_ids = array("q")
        self._is_user, self._may_be_hub, self._is_blocked = bytearray(), bytearray(), bytearray()
        self._groups = StoredGroups()

    def compare(self) -> RebuildPlan:
        with any_plan(self._graph):
            self._read_nodes()
            self._join_linked_nodes()
            for row in _stream(self._graph, COMPONENTS):
                self._groups.add(*row)
            used = self._compare_groups()
            used |= self._compare_aliases()
        for comp_id in self._groups.numbers:
            if comp_id not in used:
                self.plan.add_wrong_group("group", f"{comp_id} has no identifier")
        return self.plan

    def _read_nodes(self) -> None:
        """Read the identifiers and compare the hidden ones with the block list."""
        stored = dict(self._graph.run("SELECT node_id, rule_id FROM {schema}.identity_blocked"))
        may_be_hub = {ANONYMOUS_ID, *self._meta.options.trait_identifiers}
        for number, comp_id, age, key, id_type, value in _stream(self._graph, NODES):
            if node_key(self._meta.salt, Identifier(id_type, value)).bytes != key:
                self.plan.add_difference(
                    "key", f"identifier {number} has another key than its value"
                )
            self.partition.add(number, age, key)
            self.comp_ids.append(comp_id)
            self._is_user.append(id_type == USER_ID)
            self._may_be_hub.append(id_type in may_be_hub)
            rule = self._rules.blocks.blocking_rule(id_type, value)
            self._is_blocked.append(rule is not None)
            if rule is not None and stored.pop(number, None) is None:
                self.plan.add_difference("blocked", f"identifier {number} is not hidden")
                self.plan.hide[number] = rule
        for number in stored:
            self.plan.add_difference("blocked", f"identifier {number} is hidden by no rule")
        self.plan.blocked_to_delete = list(stored)

    def _join_linked_nodes(self) -> None:
        """Join the ends of links in force that touch no hub and no hidden identifier."""
        partition = self.partition
        ends, others, degrees = array("q"), array("q"), array("q", bytes(8 * len(self.comp_ids)))
        for number_a, number_b, state in _stream(self._graph, EDGES):
            a, b = partition.place(number_a), partition.place(number_b)
            if a < 0 or b < 0:
                continue
            if state != "-" and self._is_user[b] and self._may_be_hub[a]:
                degrees[a] += not self._is_blocked[b]
            if state == "+":
                ends.append(a)
                others.append(b)
        alone = self._is_blocked.copy()
        for place in self._hub_places(degrees):
            alone[place] = True
        for a, b in zip(ends, others, strict=True):
            if not alone[a] and not alone[b]:
                partition.join(a, b)

    def _hub_places(self, degrees: Sequence[int]) -> list[int]:
        """The places of the hubs; compares them with the stored hubs."""
        limit = self._meta.options.hub_limit
        places = [
            place for place, degree in enumerate(degrees) if limit is not None and degree > limit
        ]
        due = {self.partition.numbers[place]: degrees[place] for place in places}
        stored = {row[0] for row in self._graph.run("SELECT node_id FROM {schema}.identity_hub")}
        for number in due.keys() - stored:
            self.plan.add_difference(
                "hub", f"identifier {number} has {due[number]} users and joins"
            )
            self.plan.hubs[number] = due[number]
        gone = sorted(stored - due.keys())
        for number in gone:
            self.plan.add_difference("hub", f"identifier {number} is a hub without enough users")
        self.plan.hubs_to_delete = gone
        return places

    def _compare_groups(self) -> set[int]:
        """Check each profile's one root, id, size and anchor; returns the groups in use."""
        partition, groups = self.partition, self._groups
        roots = array("q", [UNSEEN]) * len(self.comp_ids)
        split: set[int] = set()
        used: set[int] = set()
        for place, comp_id in enumerate(self.comp_ids):
            top, root = partition.top(place), groups.root(comp_id)
            if roots[top] not in (UNSEEN, root):
                split.add(top)
            roots[top] = root
            if root != NO_ROOT:
                used.update((comp_id, root))
        for top in partition.tops():
            problem = self._group_problem(
                top, NO_ROOT if top in split else roots[top], top in split
            )
            if problem:
                key = UUID(bytes=partition.anchor(top)[1])
                self.plan.add_wrong_group("profile", f"{key}: {problem}")
        return used

    def _group_problem(self, top: int, root: int, is_split: bool) -> str:
        partition, groups = self.partition, self._groups
        if partition.size(top) == 1:
            return "" if root == NO_ROOT else "an identifier that stands alone has a group"
        if is_split or root == NO_ROOT:
            return "its identifiers have several roots or none"
        if not groups.is_root(root):
            return "its root is no root"
        size, anchor = groups.profile(root)
        if (size, anchor) != (partition.size(top), partition.anchor(top)):
            return f"its root says {size} identifiers and the id {UUID(bytes=anchor[1])}"
        return ""

    def _compare_aliases(self) -> set[int]:
        """Check the profile of each published id; returns the groups that aliases use."""
        partition, groups, plan = self.partition, self._groups, self.plan
        used: set[int] = set()
        for old, comp_id, number in _stream(self._graph, PUBLISHED):
            if comp_id is not None:
                used.add(comp_id)
            top = None if number is None else partition.top(partition.place(number))
            if top is None or partition.anchor(top)[1] == old.bytes:
                if comp_id is not None:
                    plan.add_wrong_group("alias", f"{old} is no former id")
                continue
            plan.aliases.append((old, partition.group_number(top)))
            root = NO_ROOT if comp_id is None else groups.root(comp_id)
            if not groups.is_root(root) or groups.profile(root)[1][1] != partition.anchor(top)[1]:
                plan.add_wrong_group("alias", f"{old} does not resolve to its profile")
        return used


def compare_profile_rows(graph: Graph, null_clears: bool, plan: RebuildPlan) -> None:
    """Compare profile rows with the join of their members; the partition must be correct."""
    with any_plan(graph):
        roots = array("q", (row[0] for row in _stream(graph, ALL_ROOTS)))
        stale = {row[0] for row in graph.run(STALE_ROOTS)}
        extra = [row[0] for row in graph.run(EXTRA_PROFILES)]
    for batch in batches(roots, BATCH):
        rows = profile_rows.stored_rows_by_root(graph, batch, null_clears)
        ids = [row.rudder_id for row in rows.values()]
        stored = {row[0]: row for row in graph.run(PROFILES, ids)}
        for root, row in rows.items():
            present = stored.get(row.rudder_id)
            if root not in stale and (
                present is None or not profile_rows.is_stored_row(row, present)
            ):
                plan.add_difference(
                    "profile row", f"{row.rudder_id} is not the join of its members"
                )
                plan.roots.append(root)
    for rudder_id in extra:
        plan.add_difference("profile row", f"{rudder_id} has no profile")
    plan.profiles_to_delete = extra


def _stream(graph: Graph, text: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a large result, fetched in parts."""
    with graph.conn.cursor("whole_table", binary=True) as cursor:
        cursor.itersize = 20_000
        yield from cursor.execute(query(graph.schema, text))


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of this size; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
