"""An operator's action on the graph: one transaction under both locks, or a dry run of it.

Each action changes links or identifiers and then recomputes the profiles that it concerns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from destinations.postgres.connection import Conn
from destinations.postgres.identity import graph_schema, profile_rows, restamp
from destinations.postgres.identity.graph_schema import Meta
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.recompute import StoredNode, published_ids, recompute_profiles
from destinations.warehouse.identity.profile_row import ProfileRow
from destinations.warehouse.identity.statements import ANONYMOUS_ID, Identifier, node_key
from destinations.warehouse.identity.union import LostId

STORED = """
SELECT k.position, n.node_id, coalesce(c.root_id, n.comp_id), n.node_key, n.id_type, n.id_value
FROM unnest(%b::uuid[]) WITH ORDINALITY k (node_key, position)
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_node WHERE node_key = k.node_key OFFSET 0
) n
LEFT JOIN LATERAL (
    SELECT root_id FROM {schema}.identity_component WHERE comp_id = n.comp_id OFFSET 0
) c ON true
"""

ROOTS_OF_NODES = """
SELECT n.node_id, coalesce(c.root_id, n.comp_id)
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT node_id, comp_id FROM {schema}.identity_node WHERE node_id = k.node_id OFFSET 0
) n
LEFT JOIN LATERAL (
    SELECT root_id FROM {schema}.identity_component WHERE comp_id = n.comp_id OFFSET 0
) c ON true
"""

FORWARD = """
SELECT e.node_a, e.node_b, e.state::text
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT node_a, node_b, state FROM {schema}.identity_edge
    WHERE node_a = k.node_id AND node_b <> k.node_id OFFSET 0
) e
"""

INACTIVE_BACKWARD = """
SELECT e.node_a, e.node_b, e.state::text
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT node_a, node_b, state FROM {schema}.identity_edge
    WHERE node_b = k.node_id AND state <> '+' AND node_a <> node_b OFFSET 0
) e
"""

BACKWARD = """
SELECT node_a, node_b, state::text
FROM {schema}.identity_edge
WHERE node_b = ANY (%b::bigint[]) AND node_a <> node_b
"""

STANDING_ALONE = """
SELECT node_id FROM {schema}.identity_hub
UNION
SELECT node_id FROM {schema}.identity_blocked
"""

MAY_BE_HUB = """
SELECT n.node_id, h.node_id IS NOT NULL, n.id_type = ANY (%b::text[])
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT node_id, id_type FROM {schema}.identity_node WHERE node_id = k.node_id OFFSET 0
) n
LEFT JOIN LATERAL (
    SELECT node_id FROM {schema}.identity_hub WHERE node_id = n.node_id OFFSET 0
) h ON true
"""

DELETE_HUBS = """
DELETE FROM {schema}.identity_hub h
USING unnest(%b::bigint[]) k (node_id)
WHERE h.node_id = k.node_id
"""

UPSERT_HUBS = """
INSERT INTO {schema}.identity_hub (node_id, degree)
SELECT node_id, degree
FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, degree)
ON CONFLICT (node_id) DO UPDATE SET degree = excluded.degree
"""

MOST_LINKS = 2**40
PROBED_AT_MOST = 200_000
"""With more pairs of a hub and an identifier, links are scanned instead of probed."""


@dataclass(frozen=True)
class StoredIdentifier:
    """An identifier in the graph, with the root of its profile."""

    identifier: Identifier
    key: UUID
    node_id: int
    root_id: int


@dataclass(frozen=True)
class OperationResult:
    """The effect of an action or a dry run: profiles before and after, and moved event rows."""

    before: dict[UUID, int]
    """The size of each profile before the action, by its id then."""
    after: list[ProfileRow]
    moved: dict[str, int] = field(default_factory=dict)
    restamp_id: int | None = None
    """Set while rows wait because one transaction cannot move them all."""


@dataclass
class Operation:
    """One action inside its transaction."""

    graph: Graph
    meta: Meta
    namespaces: Sequence[str]
    actor: str
    is_dry_run: bool

    def node_key(self, identifier: Identifier) -> UUID:
        return node_key(self.meta.salt, identifier)

    def stored_identifiers(
        self, identifiers: Iterable[Identifier]
    ) -> dict[Identifier, StoredIdentifier]:
        """The identifiers that the graph has."""
        keys = [self.node_key(identifier) for identifier in identifiers]
        return {
            (identifier := Identifier(id_type, id_value)): StoredIdentifier(
                identifier, key, node_id, root_id
            )
            for _, node_id, root_id, key, id_type, id_value in self.graph.run(STORED, keys)
        }

    def roots(self, node_ids: Collection[int]) -> dict[int, int]:
        return dict(self.graph.run(ROOTS_OF_NODES, list(node_ids)))

    def links(self, node_ids: Collection[int]) -> set[tuple[int, int, str]]:
        """The links of any state that end at one of these nodes, as (a, b, state)."""
        numbers = list(node_ids)
        alone = {row[0] for row in self.graph.run(STANDING_ALONE)}
        links = set(self.graph.run(FORWARD, numbers))
        if alone.intersection(numbers) or len(alone) * len(numbers) > PROBED_AT_MOST:
            with any_plan(self.graph):
                return links | set(self.graph.run(BACKWARD, numbers))
        members = profile_rows.member_numbers(self.graph, set(self.roots(numbers).values()))
        wanted = set(numbers)
        backward = self.graph.run(FORWARD, list(alone | members))
        links.update(row for row in backward if row[1] in wanted)
        return links | set(self.graph.run(INACTIVE_BACKWARD, numbers))

    def reevaluate_profiles(
        self,
        roots: Collection[int],
        touched: Collection[int] = (),
        *,
        stamps: Collection[UUID] = (),
    ) -> OperationResult:
        """Recompute these profiles after the hubs; `touched` are the ends of changed links.

        Rows may have `stamps` beside the ids that the profiles have or had.
        """
        graph = self.graph
        roots = set(roots) | self._update_hubs(touched)
        profile_ids = published_ids(graph, roots)
        nodes = recompute_profiles(graph, roots)
        after_roots = sorted({node.group.root_id for node in nodes})
        rows = list(profile_rows.stored_rows(graph, after_roots, self.meta.options.null_clears))
        before = {row.rudder_id: row.size for row in profile_ids if row.is_canonical}
        gone = before.keys() - {row.rudder_id for row in rows}
        if gone:
            graph.run(profile_rows.DELETE_PROFILES, list(gone))
        profile_rows.write_rows(graph, rows)
        self._log_changed_ids(profile_ids, nodes)
        with any_plan(self.graph):
            moved, restamp_id = restamp.move_rows(
                graph,
                self.meta.salt,
                self.namespaces,
                sorted({*stamps, *(row.rudder_id for row in profile_ids)}),
                actor=self.actor,
                is_dry_run=self.is_dry_run,
            )
        return OperationResult(before, rows, moved, restamp_id)

    def _update_hubs(self, touched: Collection[int]) -> set[int]:
        """Add and remove hubs by their number of users; returns the roots that this concerns."""
        options = self.meta.options
        types = [ANONYMOUS_ID, *options.trait_identifiers]
        candidates = self.graph.run(MAY_BE_HUB, types, list(touched)).fetchall() if touched else []
        rated = {node_id: is_hub for node_id, is_hub, may_be in candidates if is_hub or may_be}
        if not rated:
            return set()
        may_be = [node_id for node_id, _, may_be in candidates if may_be]
        degrees = self.graph.stored_degrees(may_be, MOST_LINKS)
        limit = options.hub_limit
        hubs = {
            node_id: degree
            for node_id, degree in degrees.items()
            if limit is not None and degree > limit
        }
        ended = [node_id for node_id, is_hub in rated.items() if is_hub and node_id not in hubs]
        if hubs:
            self.graph.run(UPSERT_HUBS, list(hubs), list(hubs.values()))
        concerned = {node_id for node_id in hubs if not rated[node_id]} | set(ended)
        if ended:
            links = self.links(ended)
            concerned.update(end for a, b, _ in links for end in (a, b))
            self.graph.run(DELETE_HUBS, ended)
        return set(self.roots(concerned).values())

    def _log_changed_ids(self, profile_ids: Iterable[Any], nodes: Iterable[StoredNode]) -> None:
        """Log the ids that became others or came out of others."""
        canonical = {row.root_id: row.rudder_id for row in profile_ids if row.is_canonical}
        lost = {}
        for node in nodes:
            old, new = canonical[node.root_id], node.group.anchor.key
            if old != new:
                lost[old, new] = LostId(old, new, node.group.root_id, node.key, node.key, "")
        self.graph.log_lost_ids(list(lost.values()), self.actor)


@contextmanager
def begin_operation(
    conn: Conn, schema: str, namespaces: Sequence[str], *, actor: str, dry_run: bool = False
) -> Iterator[Operation]:
    """Run an action in one transaction; a dry run rolls it back."""
    meta = graph_schema.read_meta(conn, schema)
    with graph_schema.operator_lock(conn, schema), conn.transaction(force_rollback=dry_run):
        graph_schema.lock_graph(conn, meta.oid)
        meta = graph_schema.read_meta(conn, schema)
        yield Operation(Graph(conn, schema), meta, namespaces, actor, dry_run)


@contextmanager
def any_plan(graph: Graph) -> Iterator[None]:
    """Let Postgres scan tables; other statements of the transaction may only probe indexes."""
    _set_planner(graph, "on")
    yield
    _set_planner(graph, "off")


def _set_planner(graph: Graph, state: str) -> None:
    names = (name for name in graph_schema.PLANNER_OFF if name != "jit")
    graph.conn.execute("; ".join(f"SET LOCAL {name} = {state}" for name in names))
