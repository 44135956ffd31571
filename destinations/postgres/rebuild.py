"""The graph computed anew from its links, to compare with what is stored or to put in its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from destinations.postgres import identity, profiles
from destinations.postgres.graph import Graph, columns
from destinations.postgres.operations import Conn
from destinations.postgres.split import StoredNode, part_of, unite_stored
from destinations.warehouse.graph import Anchor, Group, find
from destinations.warehouse.identity import ANONYMOUS_ID, USER_ID, Identifier, Rules, node_key

BATCH = 2_000
SHOWN = 100

NODES = """
SELECT node_id, comp_id, first_received_at, node_key, id_type, id_value
FROM {schema}.identity_node
"""
EDGES = """
SELECT node_a, node_b, state::text FROM {schema}.identity_edge WHERE node_a <> node_b
"""
COMPONENTS = """
SELECT comp_id, root_id, size, ncomp, anchor_at, rudder_id FROM {schema}.identity_component
"""
PROFILES = """
SELECT rudder_id, user_id, email, name, traits::text, identifiers::text, identifier_count,
    first_seen_at, last_seen_at
FROM {schema}.rudder_profiles
"""
CLEAR = {
    "profiles": "DELETE FROM {schema}.rudder_profiles WHERE rudder_id = ANY (%b::uuid[])",
    "hubs": "DELETE FROM {schema}.identity_hub WHERE node_id = ANY (%b::bigint[])",
    "blocked": "DELETE FROM {schema}.identity_blocked WHERE node_id = ANY (%b::bigint[])",
}
"""Rows that have no place in the graph as it should be."""

MOVE_NODES = """
UPDATE {schema}.identity_node n
SET comp_id = k.comp_id
FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, comp_id)
WHERE n.node_id = k.node_id
"""
MAKE_HUBS = """
INSERT INTO {schema}.identity_hub (node_id, degree)
SELECT node_id, degree FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, degree)
ON CONFLICT (node_id) DO NOTHING
"""
HIDE = """
INSERT INTO {schema}.identity_blocked (node_id, rule_id)
SELECT node_id, rule_id FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, rule_id)
ON CONFLICT (node_id) DO NOTHING
"""


@dataclass(frozen=True)
class Difference:
    """Something stored that is not what the links give; keys and numbers, never values."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}"


@dataclass
class _Stored:
    """The graph's tables as one snapshot."""

    nodes: list[tuple[Any, ...]]
    edges: list[tuple[int, int, str]]
    components: dict[int, tuple[Any, ...]]
    aliases: dict[UUID, int]
    hubs: set[int]
    blocked: dict[int, int]
    published: set[UUID]
    stale: set[int]


@dataclass
class Plan:
    """What would make the stored graph equal the computed one."""

    differences: list[Difference] = field(default_factory=list)
    count: int = 0
    clear: dict[str, list[Any]] = field(default_factory=dict)
    is_wrong: bool = False
    """Groups or aliases differ: all of them are written anew."""
    nodes: list[StoredNode] = field(default_factory=list)
    aliases: list[tuple[UUID, int]] = field(default_factory=list)
    hubs: dict[int, int] = field(default_factory=dict)
    hide: dict[int, int] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)

    def differs(self, kind: str, detail: str) -> None:
        self.count += 1
        if len(self.differences) < SHOWN:
            self.differences.append(Difference(kind, detail))


def check(conn: Conn, schema: str) -> list[Difference]:
    """What differs between the stored graph and the one that its links give: one snapshot."""
    with _snapshot(conn):
        graph = Graph(conn, schema)
        meta = identity.read_meta(conn, schema, any_isolation=True)
        stored = _read(graph)
        plan = _Rebuild(meta, identity.read_rules(conn, schema, any_isolation=True), stored).plan()
        if not plan.differences:
            _compare_profiles(graph, meta.options.null_clears, stored, plan)
    return plan.differences


def rebuild(conn: Conn, schema: str) -> list[Difference]:
    """Put the computed graph in the place of the stored one, in one transaction; what differed.

    Ids are functions of the links, so they come out the same; rows that are right stay as they are.
    """
    meta = identity.read_meta(conn, schema)
    with identity.operator_lock(conn, schema), conn.transaction():
        identity.lock_graph(conn, meta.oid, any_plan=True)
        graph = Graph(conn, schema)
        plan = _Rebuild(meta, identity.read_rules(conn, schema), _read(graph)).plan()
        _apply(graph, plan)
        _compare_profiles(graph, meta.options.null_clears, _read(graph), plan)
        graph.run(CLEAR["profiles"], plan.clear.get("profiles", []))
        for start in range(0, len(plan.roots), BATCH):
            batch = plan.roots[start : start + BATCH]
            rows = profiles.stored_rows(graph, batch, meta.options.null_clears)
            profiles.write_rows(graph, list(rows))
    return plan.differences


@contextmanager
def _snapshot(conn: Conn) -> Iterator[None]:
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def _read(graph: Graph) -> _Stored:
    return _Stored(
        nodes=graph.run(NODES).fetchall(),
        edges=graph.run(EDGES).fetchall(),
        components={row[0]: row for row in graph.run(COMPONENTS)},
        aliases=dict(graph.run("SELECT old_rudder_id, comp_id FROM {schema}.identity_alias")),
        hubs={row[0] for row in graph.run("SELECT node_id FROM {schema}.identity_hub")},
        blocked=dict(graph.run("SELECT node_id, rule_id FROM {schema}.identity_blocked")),
        published={
            row[0] for row in graph.run("SELECT old_rudder_id FROM {schema}.identity_merge_log")
        },
        stale={row[0] for row in graph.run("SELECT comp_id FROM {schema}.identity_stale")},
    )


class _Rebuild:
    """Union-find over all links in force, and what it finds different."""

    def __init__(self, meta: identity.Meta, rules: Rules, stored: _Stored) -> None:
        self._meta = meta
        self._rules = rules
        self._stored = stored
        self._plan = Plan()
        self._types = {row[0]: row[4] for row in stored.nodes}

    def plan(self) -> Plan:
        blocked, hubs = self._blocked(), self._hubs()
        alone = blocked.keys() | hubs.keys()
        nodes = {}
        for node_id, comp_id, at, key, id_type, id_value in self._stored.nodes:
            if node_key(self._meta.salt, Identifier(id_type, id_value)) != key:
                self._plan.differs("key", f"identifier {node_id} has another key than its value")
            group = Group(node_id, Anchor(at, key))
            nodes[node_id] = StoredNode(0, node_id, comp_id, at, key, node_id in alone, group)
        links = ((a, b) for a, b, state in self._stored.edges if state == "+" and a in nodes)
        unite_stored(nodes, links)
        parts: dict[Group, list[StoredNode]] = {}
        for node in nodes.values():
            parts.setdefault(find(node.group), []).append(node)
        for members in parts.values():
            self._compare(members)
        self._plan.nodes = list(nodes.values())
        self._compare_aliases()
        self._compare_empty_groups()
        return self._plan

    def _blocked(self) -> dict[int, int]:
        blocks = self._rules.blocks
        due = {}
        for node_id, _, _, _, id_type, id_value in self._stored.nodes:
            rule = blocks.blocked_by(id_type, id_value)
            if rule is not None:
                due[node_id] = rule
                if node_id not in self._stored.blocked:
                    self._plan.differs("blocked", f"identifier {node_id} is not hidden")
                    self._plan.hide[node_id] = rule
        gone = [node_id for node_id in self._stored.blocked if node_id not in due]
        for node_id in gone:
            self._plan.differs("blocked", f"identifier {node_id} is hidden by no rule")
        self._plan.clear["blocked"] = gone
        return due

    def _hubs(self) -> dict[int, int]:
        limit = self._meta.options.hub_limit
        may_be = {ANONYMOUS_ID, *self._meta.options.trait_identifiers}
        degrees: dict[int, int] = {}
        blocked = self._stored.blocked.keys() - set(self._plan.clear["blocked"])
        blocked |= self._plan.hide.keys()
        for a, b, state in self._stored.edges:
            if state == "-" or b in blocked or self._types.get(b) != USER_ID:
                continue
            if self._types.get(a) in may_be:
                degrees[a] = degrees.get(a, 0) + 1
        due = {n: d for n, d in degrees.items() if limit is not None and d > limit}
        for node_id in due.keys() - self._stored.hubs:
            self._plan.differs("hub", f"identifier {node_id} has {due[node_id]} users and joins")
            self._plan.hubs[node_id] = due[node_id]
        gone = sorted(self._stored.hubs - due.keys())
        for node_id in gone:
            self._plan.differs("hub", f"identifier {node_id} is a hub without enough users")
        self._plan.clear["hubs"] = gone
        return due

    def _compare(self, members: Sequence[StoredNode]) -> None:
        """See that the profile is stored under one root, with its id, size and anchor."""
        group = part_of(members)
        problem = self._problem(members, group)
        for node in members:
            node.group = group
        if problem:
            self._wrong("profile", f"{group.anchor.key}: {problem}")

    def _wrong(self, kind: str, detail: str) -> None:
        self._plan.is_wrong = True
        self._plan.differs(kind, detail)

    def _problem(self, members: Sequence[StoredNode], group: Group) -> str:
        rows = [self._stored.components.get(comp) for comp in {n.comp_id for n in members}]
        if group.size == 1:
            return "" if rows == [None] else "an identifier that stands alone has a group"
        roots = {row[1] for row in rows if row}
        if len(roots) != 1 or None in rows:
            return "its identifiers have several roots or none"
        root = self._stored.components.get(roots.pop())
        if root is None or root[1] != root[0]:
            return "its root is no root"
        expected = (group.size, group.anchor.first_received_at, group.anchor.key)
        if (root[2], root[4], root[5]) != expected:
            return f"its root says size, anchor and id {root[2]}, {root[4]}, {root[5]}"
        return ""

    def _compare_aliases(self) -> None:
        """An id that was published resolves to where its own identifier is."""
        by_key = {node.key: node for node in self._plan.nodes}
        components, aliases = self._stored.components, self._stored.aliases
        canonical = {row[5] for row in components.values() if row[5]}
        for old in self._stored.published | aliases.keys() | canonical:
            node = by_key.get(old)
            comp_id = aliases.get(old)
            if node is None or node.group.anchor.key == old:
                if comp_id is not None:
                    self._wrong("alias", f"{old} is no former id")
                continue
            self._plan.aliases.append((old, node.group.root_id))
            row = components.get(comp_id) if comp_id is not None else None
            root = components.get(row[1]) if row else None
            if root is None or root[5] != node.group.anchor.key:
                self._wrong("alias", f"{old} does not resolve to its profile")

    def _compare_empty_groups(self) -> None:
        """A root may have lost its own identifiers; other groups without any are left over."""
        components = self._stored.components
        used = {node.comp_id for node in self._plan.nodes}
        used |= {components[comp][1] for comp in used if comp in components}
        used |= set(self._stored.aliases.values())
        for comp_id in components.keys() - used:
            self._wrong("group", f"{comp_id} has no identifier")


def _apply(graph: Graph, plan: Plan) -> None:
    for name in ("blocked", "hubs"):
        graph.run(CLEAR[name], list(plan.clear.get(name, [])))
    if plan.hide:
        graph.run(HIDE, list(plan.hide), list(plan.hide.values()))
    if plan.hubs:
        graph.run(MAKE_HUBS, list(plan.hubs), list(plan.hubs.values()))
    if not plan.is_wrong:
        return
    graph.run("DELETE FROM {schema}.identity_component")
    graph.run("DELETE FROM {schema}.identity_alias")
    moved = [(n.node_id, n.group.root_id) for n in plan.nodes if n.comp_id != n.group.root_id]
    if moved:
        graph.run(MOVE_NODES, *columns(moved))
    groups = {node.group.root_id: node.group for node in plan.nodes if node.group.has_row}
    graph.write_groups(groups.values())
    graph.write_aliases(plan.aliases)


def _compare_profiles(graph: Graph, null_clears: bool, stored: _Stored, plan: Plan) -> None:
    """Are the rows of rudder_profiles the join of their members? Of a right partition only."""
    root_of = {comp: row[1] for comp, row in stored.components.items()}
    roots = sorted({root_of.get(row[1], row[1]) for row in stored.nodes})
    stale = {root_of.get(comp, comp) for comp in stored.stale}
    found = {row[0]: row for row in graph.run(PROFILES)}
    for start in range(0, len(roots), BATCH):
        batch = roots[start : start + BATCH]
        for root, row in profiles.stored_rows_by_root(graph, batch, null_clears).items():
            kept = found.pop(row.rudder_id, None)
            if root not in stale and (kept is None or not profiles.is_equal(row, kept)):
                plan.differs("profile row", f"{row.rudder_id} is not the join of its members")
                plan.roots.append(root)
    for rudder_id in found:
        plan.differs("profile row", f"{rudder_id} has no profile")
    plan.clear["profiles"] = list(found)
