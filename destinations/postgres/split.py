"""Re-splits stored profiles: their members, the links in force among them, and the new parts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from destinations.postgres.graph import Graph
from destinations.warehouse.graph import Anchor, Group, find

MEMBERS = """
SELECT n.node_id, n.comp_id, n.first_received_at, n.node_key,
    EXISTS (SELECT FROM {schema}.identity_hub h WHERE h.node_id = n.node_id OFFSET 0)
    OR EXISTS (SELECT FROM {schema}.identity_blocked b WHERE b.node_id = n.node_id OFFSET 0)
FROM unnest(%b::bigint[]) k (root_id)
CROSS JOIN LATERAL (
    SELECT k.root_id AS comp_id
    UNION
    SELECT comp_id FROM {schema}.identity_component WHERE root_id = k.root_id OFFSET 0
) c
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_node WHERE comp_id = c.comp_id OFFSET 0
) n
"""

LINKS_IN_FORCE = """
SELECT e.node_a, e.node_b
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT node_a, node_b FROM {schema}.identity_edge
    WHERE node_a = k.node_id AND node_b <> k.node_id AND state = '+' OFFSET 0
) e
"""

MOVE_NODES = """
UPDATE {schema}.identity_node n
SET comp_id = k.comp_id
FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, comp_id)
WHERE n.node_id = k.node_id
"""

ALIASES = """
SELECT a.old_rudder_id
FROM unnest(%b::bigint[]) k (comp_id)
CROSS JOIN LATERAL (
    SELECT old_rudder_id FROM {schema}.identity_alias WHERE comp_id = k.comp_id OFFSET 0
) a
"""

DROP_COMPONENTS = """
DELETE FROM {schema}.identity_component c
USING unnest(%b::bigint[]) k (root_id)
WHERE c.root_id = k.root_id
"""


@dataclass(eq=False, slots=True)
class StoredNode:
    node_id: int
    comp_id: int
    first_received_at: datetime
    key: UUID
    stands_alone: bool
    group: Group


def resplit(graph: Graph, roots: Collection[int]) -> dict[int, Group]:
    """Compute the profiles of these roots anew and store them; the group of each of their nodes.

    Hubs and blocked identifiers stay alone. An alias follows its own identifier and goes when
    that is canonical again, so that every id ever published still resolves.
    """
    nodes = {row[0]: _stored(*row) for row in graph.run(MEMBERS, list(roots))}
    _unite(nodes, graph.run(LINKS_IN_FORCE, list(nodes)))
    parts: dict[Group, list[StoredNode]] = {}
    for node in nodes.values():
        parts.setdefault(find(node.group), []).append(node)
    groups = {top: _part(members) for top, members in parts.items()}
    for node in nodes.values():
        node.group = groups[find(node.group)]
    _store(graph, roots, list(nodes.values()), list(groups.values()))
    return {node.node_id: node.group for node in nodes.values()}


def _stored(
    node_id: int, comp_id: int, first_received_at: datetime, key: UUID, stands_alone: bool
) -> StoredNode:
    group = Group(node_id, Anchor(first_received_at, key))
    return StoredNode(node_id, comp_id, first_received_at, key, stands_alone, group)


def _unite(nodes: dict[int, StoredNode], links: Iterable[tuple[Any, ...]]) -> None:
    for node_a, node_b in links:
        a, b = nodes[node_a], nodes.get(node_b)
        if b is None or a.stands_alone or b.stands_alone:
            continue
        top_a, top_b = find(a.group), find(b.group)
        if top_a is top_b:
            continue
        if top_a.rank < top_b.rank:
            top_a, top_b = top_b, top_a
        top_b.parent = top_a
        top_a.rank += top_b.rank


def _part(members: Sequence[StoredNode]) -> Group:
    """One compacted group, named after a member's number."""
    anchor = min(Anchor(node.first_received_at, node.key) for node in members)
    root_id = min(node.node_id for node in members)
    size = len(members)
    return Group(root_id, anchor, size, stored=1, rudder_id=anchor.key, has_row=size > 1, rank=size)


def _store(
    graph: Graph, roots: Collection[int], nodes: Sequence[StoredNode], groups: Sequence[Group]
) -> None:
    aliases = {row[0] for row in graph.run(ALIASES, sorted({node.comp_id for node in nodes}))}
    graph.run(DROP_COMPONENTS, list(roots))
    moved = [node for node in nodes if node.comp_id != node.group.root_id]
    graph.run(MOVE_NODES, [node.node_id for node in moved], [node.group.root_id for node in moved])
    graph.write_groups([group for group in groups if group.has_row])
    graph.drop_aliases([group.anchor.key for group in groups])
    kept = [node for node in nodes if node.key in aliases and node.key != node.group.rudder_id]
    graph.write_aliases([(node.key, node.group.root_id) for node in kept])
