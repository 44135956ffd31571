"""Recomputes stored profiles from their members and the links in force among them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from destinations.postgres.identity import restamp
from destinations.postgres.identity.graph_store import Graph
from destinations.warehouse.identity.union import Anchor, Group, join_groups, representative

MEMBERS = """
SELECT k.root_id, n.node_id, n.comp_id, n.first_received_at, n.node_key,
    EXISTS (SELECT FROM {schema}.identity_hub h WHERE h.node_id = n.node_id OFFSET 0)
    OR EXISTS (SELECT FROM {schema}.identity_blocked b WHERE b.node_id = n.node_id OFFSET 0)
{members_of_roots}
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

PUBLISHED = """
SELECT k.root_id, a.old_rudder_id, false, 0
{groups_of_roots}
CROSS JOIN LATERAL (
    SELECT old_rudder_id FROM {schema}.identity_alias WHERE comp_id = c.comp_id OFFSET 0
) a
UNION ALL
SELECT k.root_id, r.rudder_id, true, r.size
FROM unnest(%b::bigint[]) k (root_id)
CROSS JOIN LATERAL (
    SELECT rudder_id, size FROM {schema}.identity_component WHERE comp_id = k.root_id OFFSET 0
) r
UNION ALL
SELECT k.root_id, n.node_key, true, 1
FROM unnest(%b::bigint[]) k (root_id)
CROSS JOIN LATERAL (
    SELECT node_key FROM {schema}.identity_node WHERE comp_id = k.root_id OFFSET 0
) n
WHERE NOT EXISTS (
    SELECT FROM {schema}.identity_component c WHERE c.comp_id = k.root_id OFFSET 0
)
"""

DROP_COMPONENTS = """
DELETE FROM {schema}.identity_component c
USING unnest(%b::bigint[]) k (root_id)
WHERE c.root_id = k.root_id
"""


@dataclass(eq=False, slots=True)
class StoredNode:
    """A member of a stored profile with its former root_id and its new group."""

    root_id: int
    node_id: int
    comp_id: int
    first_received_at: datetime
    key: UUID
    stands_alone: bool
    group: Group


class PublishedId(NamedTuple):
    """A present or former id of a profile, and the number of the profile's identifiers."""

    root_id: int
    rudder_id: UUID
    is_canonical: bool
    size: int


def published_ids(graph: Graph, roots: Collection[int]) -> list[PublishedId]:
    numbers = list(roots)
    return [PublishedId(*row) for row in graph.run(PUBLISHED, numbers, numbers, numbers)]


def resplit_profiles(graph: Graph, roots: Collection[int]) -> dict[int, Group]:
    """Recompute the profiles of these roots; returns the group of each node.

    The upkeep of the destination moves their event rows later.
    """
    stamps = [published.rudder_id for published in published_ids(graph, roots)]
    restamp.queue_move(graph, stamps, "hub limit")
    return {node.node_id: node.group for node in recompute_profiles(graph, roots)}


def recompute_profiles(graph: Graph, roots: Collection[int]) -> list[StoredNode]:
    """Recompute and store the profiles of these roots, which may split or join.

    Hubs and blocked identifiers stay alone. An alias follows its own identifier and is deleted if
    that is canonical again, so that every id ever published still resolves.
    """
    nodes = {
        node_id: StoredNode(
            root_id, node_id, comp_id, at, key, alone, Group(node_id, Anchor(at, key))
        )
        for root_id, node_id, comp_id, at, key, alone in graph.run(MEMBERS, list(roots))
    }
    unite_stored_nodes(nodes, graph.run(LINKS_IN_FORCE, list(nodes)))
    parts: dict[Group, list[StoredNode]] = {}
    for node in nodes.values():
        parts.setdefault(representative(node.group), []).append(node)
    groups = {top: compacted_group(members) for top, members in parts.items()}
    for node in nodes.values():
        node.group = groups[representative(node.group)]
    _store_groups(graph, roots, list(nodes.values()), list(groups.values()))
    return list(nodes.values())


def unite_stored_nodes(nodes: dict[int, StoredNode], links: Iterable[tuple[Any, ...]]) -> None:
    """Join the groups that links connect, except groups of hubs and blocked identifiers."""
    for node_a, node_b in links:
        a, b = nodes[node_a], nodes.get(node_b)
        if b is None or a.stands_alone or b.stands_alone:
            continue
        top_a, top_b = representative(a.group), representative(b.group)
        if top_a is not top_b:
            join_groups(top_a, top_b)


def compacted_group(members: Sequence[StoredNode]) -> Group:
    """One group of all members, with the least number as root."""
    anchor = min(Anchor(node.first_received_at, node.key) for node in members)
    root_id = min(node.node_id for node in members)
    size = len(members)
    return Group(root_id, anchor, size, stored=1, rudder_id=anchor.key, has_row=size > 1, rank=size)


def _store_groups(
    graph: Graph, roots: Collection[int], nodes: Sequence[StoredNode], groups: Sequence[Group]
) -> None:
    former = {published.rudder_id for published in published_ids(graph, roots)}
    graph.run(DROP_COMPONENTS, list(roots))
    moved = [node for node in nodes if node.comp_id != node.group.root_id]
    graph.run(MOVE_NODES, [node.node_id for node in moved], [node.group.root_id for node in moved])
    graph.write_groups([group for group in groups if group.has_row])
    graph.drop_aliases([group.anchor.key for group in groups])
    kept = [node for node in nodes if node.key in former and node.key != node.group.rudder_id]
    graph.write_aliases([(node.key, node.group.root_id) for node in kept])
