"""Reads and writes of the identity graph for one chunk, in a few set-based statements.

Each statement probes indexes from arrays (LATERAL behind OFFSET 0) and never scans a table;
lock_graph() keeps the planner to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql as pgsql
from psycopg.sql import SQL, Literal

from destinations.postgres.connection import Conn
from destinations.postgres.identity.query import columns, query
from destinations.warehouse.identity.fold import Sighting
from destinations.warehouse.identity.statements import USER_ID, Identifier
from destinations.warehouse.identity.union import CUT, Anchor, Group, Link, LostId, Node, Profile

KNOWN_NODES = """
SELECT
    k.position, n.node_id, n.first_received_at, n.comp_id,
    r.comp_id, r.size, r.ncomp, r.anchor_at, r.rudder_id,
    h.node_id IS NOT NULL, a.first_at, a.last_at
FROM unnest(%b::uuid[]) WITH ORDINALITY k (node_key, position)
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_node WHERE node_key = k.node_key OFFSET 0
) n
LEFT JOIN LATERAL (
    SELECT root_id FROM {schema}.identity_component WHERE comp_id = n.comp_id OFFSET 0
) c ON true
LEFT JOIN LATERAL (
    SELECT * FROM {schema}.identity_component i WHERE i.comp_id = c.root_id OFFSET 0
) r ON true
LEFT JOIN LATERAL (
    SELECT node_id FROM {schema}.identity_hub WHERE node_id = n.node_id OFFSET 0
) h ON true
LEFT JOIN LATERAL (
    SELECT first_at, last_at FROM {schema}.identity_activity WHERE node_id = n.node_id OFFSET 0
) a ON true
"""

TAKE_NUMBERS = """
SELECT setval(number, nextval(number) + %s - 1)
FROM (SELECT {sequence}::regclass AS number) s
"""

KNOWN_EDGES = """
SELECT k.position, e.first_received_at, e.message_id
FROM unnest(%b::bigint[], %b::bigint[]) WITH ORDINALITY k (node_a, node_b, position)
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_edge e
    WHERE e.node_a = k.node_a AND e.node_b = k.node_b OFFSET 0
) e
"""

CUT_LINKS = """
SELECT k.position
FROM unnest(%b::uuid[], %b::uuid[]) WITH ORDINALITY k (key_a, key_b, position)
CROSS JOIN LATERAL (
    SELECT FROM {schema}.identity_tombstone t
    WHERE t.key_a = k.key_a AND t.key_b = k.key_b OFFSET 0
) t
"""

DEGREES = """
SELECT k.node_id, (
    SELECT count(*)
    FROM (
        SELECT
        FROM {schema}.identity_edge e
        CROSS JOIN LATERAL (
            SELECT FROM {schema}.identity_node
            WHERE node_id = e.node_b AND id_type = 'user_id' OFFSET 0
        ) u
        WHERE e.node_a = k.node_id AND e.state <> '-'
            AND NOT EXISTS (
                SELECT FROM {schema}.identity_blocked b WHERE b.node_id = e.node_b OFFSET 0
            )
        LIMIT %s
    ) x
)
FROM unnest(%b::bigint[]) k (node_id)
"""

WRITE_HUBS = """
INSERT INTO {schema}.identity_hub (node_id, degree)
SELECT node_id, degree
FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, degree)
ON CONFLICT (node_id) DO UPDATE SET degree = identity_hub.degree + excluded.degree
"""

COPY_NODES = """
COPY {schema}.identity_node (node_id, comp_id, first_received_at, node_key, id_type, id_value)
FROM STDIN
"""

COPY_EDGES = """
COPY {schema}.identity_edge (node_a, node_b, first_received_at, state, message_id, source_id)
FROM STDIN
"""

OLDER_NODES = """
UPDATE {schema}.identity_node n
SET first_received_at = k.at
FROM unnest(%b::bigint[], %b::timestamptz[]) k (node_id, at)
WHERE n.node_id = k.node_id
"""

OLDER_EDGES = """
UPDATE {schema}.identity_edge e
SET first_received_at = k.at, message_id = k.message_id, source_id = k.source_id
FROM unnest(%b::bigint[], %b::bigint[], %b::timestamptz[], %b::text[], %b::text[])
    k (node_a, node_b, at, message_id, source_id)
WHERE e.node_a = k.node_a AND e.node_b = k.node_b
"""

REPOINT = """
UPDATE {schema}.identity_component c
SET root_id = k.root_id,
    size = NULL, ncomp = NULL, anchor_at = NULL, rudder_id = NULL, updated_at = NULL
FROM unnest(%b::bigint[], %b::bigint[]) k (loser, root_id)
WHERE c.root_id = k.loser
"""

WRITE_COMPONENTS = """
INSERT INTO {schema}.identity_component
    (comp_id, root_id, size, ncomp, anchor_at, rudder_id, updated_at)
SELECT comp_id, root_id, size, ncomp, anchor_at, rudder_id,
    CASE WHEN comp_id = root_id THEN now() END
FROM unnest(
    %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::timestamptz[], %b::uuid[]
) k (comp_id, root_id, size, ncomp, anchor_at, rudder_id)
ON CONFLICT (comp_id) DO UPDATE
SET root_id = excluded.root_id,
    size = excluded.size,
    ncomp = excluded.ncomp,
    anchor_at = excluded.anchor_at,
    rudder_id = excluded.rudder_id,
    updated_at = excluded.updated_at
"""

WRITE_ALIASES = """
INSERT INTO {schema}.identity_alias (old_rudder_id, comp_id)
SELECT old_rudder_id, comp_id
FROM unnest(%b::uuid[], %b::bigint[]) k (old_rudder_id, comp_id)
ON CONFLICT (old_rudder_id) DO UPDATE SET comp_id = excluded.comp_id
"""

DROP_ALIASES = """
DELETE FROM {schema}.identity_alias a
USING unnest(%b::uuid[]) k (rudder_id)
WHERE a.old_rudder_id = k.rudder_id
"""

LOG_LOST = """
INSERT INTO {schema}.identity_merge_log
    (old_rudder_id, new_rudder_id, key_a, key_b, message_id, actor)
SELECT old_rudder_id, new_rudder_id, key_a, key_b, message_id, %s
FROM unnest(%b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[])
    WITH ORDINALITY k (old_rudder_id, new_rudder_id, key_a, key_b, message_id, position)
ORDER BY position
"""

REMEMBER_TYPES = """
UPDATE {schema}.identity_meta
SET id_types = id_types || %b::text[]
"""
"""rudder_profile() searches this many types; for further ones a caller must name the type."""
MAX_TYPES = 1_000


class Graph:
    """The stored graph, read and changed inside T1 under the graph's lock."""

    def __init__(self, conn: Conn, schema: str) -> None:
        self.conn = conn
        self.schema = schema

    def run(self, text: str, *parameters: Any) -> psycopg.Cursor[tuple[Any, ...]]:
        return self.conn.cursor(binary=True).execute(query(self.schema, text), parameters)

    def copy(self, text: str, rows: Iterable[Sequence[Any]]) -> None:
        with self.conn.cursor().copy(query(self.schema, text)) as copy:
            for row in rows:
                copy.write_row(row)

    def nodes(
        self, sightings: Mapping[Identifier, Sighting], keys: Mapping[Identifier, UUID]
    ) -> dict[Identifier, Node]:
        """The chunk's nodes: stored ones with their profile, new ones with a new number."""
        named = list(sightings)
        groups: dict[int, Group] = {}
        nodes: dict[Identifier, Node] = {}
        for row in self.run(KNOWN_NODES, [keys[identifier] for identifier in named]):
            identifier = named[row[0] - 1]
            node = _stored_node(identifier, keys[identifier], sightings[identifier], row)
            node.group = groups.setdefault(node.group.root_id, node.group)
            nodes[identifier] = node
        new = [identifier for identifier in named if identifier not in nodes]
        first = self._take_numbers(len(new)) if new else 0
        for number, identifier in enumerate(new, first):
            key, sighting = keys[identifier], sightings[identifier]
            group = Group(number, Anchor(sighting.received_at, key))
            nodes[identifier] = Node(identifier, key, sighting, number, group)
        return nodes

    def new_links(
        self,
        stated: Mapping[tuple[Identifier, Identifier], Sighting],
        nodes: Mapping[Identifier, Node],
        has_tombstones: bool,
    ) -> list[Link]:
        """The new links, CUT if they have a tombstone; updates stored links seen earlier."""
        links = [Link(nodes[a], nodes[b], sighting) for (a, b), sighting in stated.items()]
        probed = [link for link in links if not link.a.is_new and not link.b.is_new]
        stored: set[Link] = set()
        older: list[Link] = []
        if probed:
            ends = [link_ends(link) for link in probed]
            for position, received_at, message_id in self.run(KNOWN_EDGES, *columns(ends)):
                link = probed[position - 1]
                stored.add(link)
                if link.sighting[:2] < (received_at, message_id):
                    older.append(link)
        if older:
            rows = [(*link_ends(link), *link.sighting) for link in older]
            self.run(OLDER_EDGES, *columns(rows))
        new = [link for link in links if link not in stored]
        if has_tombstones and new:
            pairs = [sorted((link.a.key, link.b.key)) for link in new]
            for (position,) in self.run(CUT_LINKS, *columns(pairs)):
                new[position - 1].state = CUT
        return new

    def stored_degrees(self, node_ids: Sequence[int], most: int) -> dict[int, int]:
        """The number of users linked to each node, counted up to most."""
        return dict(self.run(DEGREES, most, list(node_ids)))

    def write_hubs(self, degrees: Mapping[int, int]) -> None:
        """Store new hubs with their degree, and add to the degree of stored hubs."""
        if degrees:
            self.run(WRITE_HUBS, list(degrees), list(degrees.values()))

    def write_links(self, links: Sequence[Link]) -> None:
        """Store new links in the order of the key, so that its index grows in full pages."""
        if links:
            ends = sorted(((link_ends(link), link) for link in links), key=itemgetter(0))
            self.copy(
                COPY_EDGES,
                (
                    (*pair, link.sighting.received_at, link.state, *link.sighting[1:])
                    for pair, link in ends
                ),
            )

    def write_profiles(self, profiles: Iterable[Profile]) -> None:
        """Store the components of profiles with a new size or anchor, and their lost ids."""
        profiles = [profile for profile in profiles if profile.is_changed]
        repointed = [
            (group.root_id, profile.root_id)
            for profile in profiles
            for group in profile.losers
            if group.has_row
        ]
        if repointed:
            self.run(REPOINT, *columns(repointed))
        self._write_components([row for profile in profiles for row in _component_rows(profile)])
        lost = [lost_id for profile in profiles for lost_id in profile.lost]
        self.drop_aliases([lost_id.new for lost_id in lost])
        self.write_aliases([(lost_id.old, lost_id.comp_id) for lost_id in lost])
        self.log_lost_ids(lost, "")

    def write_groups(self, groups: Iterable[Group]) -> None:
        """Store the components of profiles that consist of one group."""
        self._write_components(
            [
                (g.root_id, g.root_id, g.size, 1, g.anchor.first_received_at, g.anchor.key)
                for g in groups
            ]
        )

    def _write_components(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            self.run(WRITE_COMPONENTS, *columns(rows))

    def drop_aliases(self, canonical: Sequence[UUID]) -> None:
        """Delete the aliases of ids that are canonical again."""
        if canonical:
            self.run(DROP_ALIASES, list(canonical))

    def write_aliases(self, aliases: Sequence[tuple[UUID, int]]) -> None:
        if aliases:
            self.run(WRITE_ALIASES, *columns(aliases))

    def log_lost_ids(self, lost: Sequence[LostId], actor: str) -> None:
        if lost:
            rows = [(i.old, i.new, i.key_a, i.key_b, i.message_id) for i in lost]
            self.run(LOG_LOST, actor, *columns(rows))

    def write_nodes(self, nodes: Iterable[Node], profile_of: Mapping[Group, Profile]) -> None:
        """Store new identifiers with their final group, and earlier sightings of stored ones."""
        new = [node for node in nodes if node.is_new]
        if new:
            self.copy(
                COPY_NODES,
                (
                    (
                        node.node_id,
                        profile_of[node.group].root_id,
                        node.sighting.received_at,
                        node.key,
                        *node.identifier,
                    )
                    for node in new
                ),
            )
        older = [(node.node_id, node.sighting.received_at) for node in nodes if node.is_older]
        if older:
            self.run(OLDER_NODES, *columns(older))

    def remember_types(self, types: set[str], known: Sequence[str]) -> None:
        new = sorted(types.difference(known))[: MAX_TYPES - len(known)]
        if new:
            self.run(REMEMBER_TYPES, new)

    def _take_numbers(self, count: int) -> int:
        """Reserve consecutive numbers for identifiers under the graph's lock; returns the first."""
        name = pgsql.Identifier(self.schema, "identity_node_number").as_string(self.conn)
        numbers = self.conn.execute(SQL(TAKE_NUMBERS).format(sequence=Literal(name)), [count])
        return int(numbers.fetchall()[0][0]) - count + 1


def link_ends(link: Link) -> tuple[int, int]:
    """node_a and node_b of the link in identity_edge: a user_id comes last, then by number."""
    a, b = link.a, link.b
    if (a.identifier.type == USER_ID, a.node_id) <= (b.identifier.type == USER_ID, b.node_id):
        return a.node_id, b.node_id
    return b.node_id, a.node_id


def _stored_node(
    identifier: Identifier, key: UUID, sighting: Sighting, row: tuple[Any, ...]
) -> Node:
    _, node_id, first_received_at, comp_id, root_id, size, stored, at, rudder_id, *rest = row
    is_hub, first_at, last_at = rest
    if root_id is None:
        group = Group(comp_id, Anchor(first_received_at, key), 1, 1, key)
    else:
        group = Group(root_id, Anchor(at, rudder_id), size, stored, rudder_id, has_row=True)
    group.rank = group.size
    node = Node(identifier, key, sighting, node_id, group, first_received_at, is_hub)
    node.activity = (first_at, last_at) if first_at is not None else None
    return node


def _component_rows(profile: Profile) -> Iterable[tuple[Any, ...]]:
    for group in profile.losers:
        if not group.has_row:
            yield group.root_id, profile.root_id, None, None, None, None
    root_id, anchor = profile.root_id, profile.anchor
    yield root_id, root_id, profile.size, profile.stored, anchor.first_received_at, anchor.key
