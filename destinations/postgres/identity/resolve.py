"""Resolves the identities of one chunk in the transaction T1."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from uuid import UUID

from destinations.postgres.connection import Conn
from destinations.postgres.identity import profile_rows
from destinations.postgres.identity.graph_schema import Meta, lock_graph, read_meta
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import query
from destinations.postgres.identity.recompute import resplit_profiles
from destinations.warehouse.identity.fold import FoldedChunk, fold_statements
from destinations.warehouse.identity.statements import (
    ANONYMOUS_ID,
    USER_ID,
    Identifier,
    Statement,
    node_key,
)
from destinations.warehouse.identity.union import (
    CUT,
    IN_FORCE,
    REFUSED,
    Group,
    Link,
    LostId,
    Node,
    Profile,
    representative,
    settled_profiles,
    unite_groups,
)

logger = logging.getLogger(__name__)


SUPPRESSED = """
SELECT k.position, s.mode
FROM unnest(%b::uuid[]) WITH ORDINALITY k (node_key, position)
CROSS JOIN LATERAL (
    SELECT mode FROM {schema}.identity_suppressed WHERE node_key = k.node_key OFFSET 0
) s
"""

HIDDEN = """
SELECT k.position
FROM unnest(%b::uuid[]) WITH ORDINALITY k (node_key, position)
WHERE EXISTS (
    SELECT FROM {schema}.identity_suppressed s WHERE s.node_key = k.node_key OFFSET 0
) OR EXISTS (
    SELECT
    FROM (
        SELECT node_id FROM {schema}.identity_node WHERE node_key = k.node_key OFFSET 0
    ) n
    JOIN {schema}.identity_blocked b ON b.node_id = n.node_id
)
"""


COUNT_HITS = """
UPDATE {schema}.identity_rule_list l
SET hits = l.hits + k.hits
FROM unnest(%b::bigint[], %b::bigint[]) k (id, hits)
WHERE l.id = k.id
"""


def resolve_statements(
    conn: Conn,
    schema: str,
    statements: Sequence[Statement],
    warn: Callable[[str], None] = logger.warning,
) -> dict[Identifier, UUID]:
    """Commit a chunk's T1, its graph, traits and profiles; returns the profile of each primary.

    Suppressed and hidden primary identifiers are missing from the result. Repeating it changes
    nothing. Call it under operator_lock_shared(). warn receives a message about refused links.
    """
    if not statements:
        return {}
    meta = read_meta(conn, schema)
    distinct = {identifier for stated in statements for identifier in stated.identifiers}
    keys = {identifier: node_key(meta.salt, identifier) for identifier in distinct}
    hidden = _hidden_identifiers(conn, schema, keys) if meta.has_hidden else set()
    folded = fold_statements(statements, hidden)
    with conn.transaction():
        lock_graph(conn, meta.oid)
        resolution = Resolution(Graph(conn, schema), meta, folded, keys)
        profile_of = resolution.resolve()
    if resolution.refused:
        warn(f"merges blocked by the size limit: {resolution.refused}")
    return profile_of


def suppressed_identifiers(
    conn: Conn, schema: str, statements: Iterable[Statement]
) -> dict[Identifier, str]:
    """The erased identifiers of a chunk with their mode. Call it under operator_lock_shared()."""
    meta = read_meta(conn, schema)
    if not meta.has_hidden:
        return {}
    named = list({identifier for stated in statements for identifier in stated.identifiers})
    keys = [node_key(meta.salt, identifier) for identifier in named]
    rows = conn.execute(query(schema, SUPPRESSED), [keys], binary=True)
    return {named[position - 1]: mode for position, mode in rows}


class Resolution:
    """The steps of T1; numbers in brackets are steps of the specification."""

    def __init__(
        self, graph: Graph, meta: Meta, folded: FoldedChunk, keys: Mapping[Identifier, UUID]
    ) -> None:
        self.graph = graph
        self.meta = meta
        self.folded = folded
        self.keys = keys
        self.refused = 0

    def resolve(self) -> dict[Identifier, UUID]:
        graph, folded, options = self.graph, self.folded, self.meta.options
        nodes = graph.nodes(folded.sightings, self.keys)  # [1, 4]
        links = graph.new_links(folded.links, nodes, self.meta.has_tombstones)  # [2]
        resplit_groups = self._set_hubs(list(nodes.values()), links)  # [3]
        joined = unite_groups(filter(_may_join, links), options.size_limit)  # [5, 6]
        self.refused = sum(link.state == REFUSED for link in links)
        groups = {node.group: None for node in nodes.values()} | dict.fromkeys(resplit_groups)
        settled = settled_profiles(groups, nodes.values(), joined)  # [7]
        profile_of = _profile_of(groups, settled)
        graph.write_links(links)
        graph.write_profiles(settled)  # [8, 9]
        graph.write_nodes(list(nodes.values()), profile_of)  # [10, 11]
        graph.remember_types({identifier.type for identifier in nodes}, self.meta.id_types)
        self.write_profiles(nodes, settled, profile_of, resplit_groups)  # [12, 13]
        self._count_hits()
        return {primary: profile_of[nodes[primary].group].rudder_id for primary in folded.activity}

    def _set_hubs(self, nodes: Sequence[Node], links: Sequence[Link]) -> list[Group]:
        """Mark hubs, which have more users than the limit; returns the parts of their profiles."""
        limit = self.meta.options.hub_limit
        if limit is None:
            return []
        new_users = _new_users(links, self.meta.options.trait_identifiers)
        candidates = [n.node_id for n in new_users if not n.is_new and not n.is_hub]
        stored = self.graph.stored_degrees(candidates, limit + 1) if candidates else {}
        degrees = {node: stored.get(node.node_id, 0) + len(new_users[node]) for node in new_users}
        new_hubs = [node for node in new_users if not node.is_hub and degrees[node] > limit]
        grown = {node.node_id: len(new_users[node]) for node in new_users if node.is_hub}
        self.graph.write_hubs({**grown, **{node.node_id: degrees[node] for node in new_hubs}})
        for node in new_hubs:
            node.is_hub = True
        return self._split_profiles(new_hubs, nodes, new_users)

    def _split_profiles(
        self,
        hubs: Sequence[Node],
        nodes: Sequence[Node],
        new_users: Mapping[Node, Sequence[Link]],
    ) -> list[Group]:
        """Recompute the stored profiles of new hubs; returns the groups that they became."""
        parts: list[Group] = []
        for hub in hubs:
            before = hub.group
            if not before.has_row:
                continue  # alone, or another hub has just split their profile
            group_of = resplit_profiles(self.graph, [before.root_id])
            for node in nodes:
                node.group = group_of.get(node.node_id, node.group)
            split = list(dict.fromkeys(group_of.values()))
            link = min(new_users[hub], key=lambda link: link.order)
            self.graph.log_lost_ids(_split_ids(before, split, hub, link), "hub limit")
            parts += split
        return parts

    def write_profiles(
        self,
        nodes: Mapping[Identifier, Node],
        settled: Sequence[Profile],
        profile_of: Mapping[Group, Profile],
        resplit_groups: Sequence[Group],
    ) -> None:
        graph, folded = self.graph, self.folded
        changed_nodes = profile_rows.write_facts(graph, folded.facts, nodes)
        active = profile_rows.write_activity(graph, folded.activity, nodes)
        account_keys = {
            group: node_key(self.meta.salt, Identifier("group_id", group))
            for group in folded.accounts
        }
        profile_rows.write_accounts(graph, folded.accounts, account_keys, nodes)
        changed = {profile for profile in settled if profile.is_changed}
        changed.update(profile_of[group] for group in resplit_groups)
        changed.update(profile_of[node.group] for node in changed_nodes)
        changed.update(
            profile_of[node.group] for node in nodes.values() if node.is_new or node.is_older
        )
        refresh = profile_rows.ProfileRefresh(graph, folded, nodes, self.meta.options.null_clears)
        refresh.run(settled, profile_of, changed, active)

    def _count_hits(self) -> None:
        hits = self.folded.hits
        if hits:
            self.graph.run(COUNT_HITS, list(hits), list(hits.values()))


def _may_join(link: Link) -> bool:
    return (
        link.state == IN_FORCE and link.a is not link.b and not link.a.is_hub and not link.b.is_hub
    )


def _new_users(links: Sequence[Link], trait_identifiers: Collection[str]) -> dict[Node, list[Link]]:
    """The new links to a user_id of each identifier that can be a hub."""
    may_be_hub = {ANONYMOUS_ID, *trait_identifiers}
    links_by_node: dict[Node, list[Link]] = {}
    for link in links:
        if link.state == CUT:
            continue
        for node, other in ((link.a, link.b), (link.b, link.a)):
            if node.identifier.type in may_be_hub and other.identifier.type == USER_ID:
                links_by_node.setdefault(node, []).append(link)
    return links_by_node


def _split_ids(before: Group, parts: Sequence[Group], hub: Node, link: Link) -> list[LostId]:
    old = before.anchor.key
    message_id = link.sighting.message_id
    return [
        LostId(old, part.anchor.key, part.root_id, hub.key, hub.key, message_id)
        for part in parts
        if part.anchor.key != old
    ]


def _profile_of(groups: Collection[Group], settled: Sequence[Profile]) -> dict[Group, Profile]:
    profiles_by_top = {representative(profile.survivor): profile for profile in settled}
    return {group: profiles_by_top[representative(group)] for group in groups}


def _hidden_identifiers(
    conn: Conn, schema: str, keys: Mapping[Identifier, UUID]
) -> set[Identifier]:
    """The identifiers that were erased, or blocked after they were stored."""
    named = list(keys)
    rows = conn.execute(query(schema, HIDDEN), [list(keys.values())], binary=True)
    return {named[position - 1] for (position,) in rows}
