"""An operator's action on the graph: one transaction under both locks, or a dry run of it.

Each action changes what is stated or in force, then has the profiles concerned computed anew.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from destinations.interface import DestinationError
from destinations.postgres.connection import Conn
from destinations.postgres.identity import graph_schema, profile_rows, restamp
from destinations.postgres.identity.graph_schema import Meta
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import query
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

FIND = "SELECT node_key, id_type, id_value FROM {schema}.identity_find(%s, %s) LIMIT 1"

FORWARD = """
SELECT e.node_a, e.node_b, e.state::text
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT node_a, node_b, state FROM {schema}.identity_edge
    WHERE node_a = k.node_id AND node_b <> k.node_id OFFSET 0
) e
"""

APART = """
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

END_HUBS = """
DELETE FROM {schema}.identity_hub h
USING unnest(%b::bigint[]) k (node_id)
WHERE h.node_id = k.node_id
"""

MAKE_HUBS = """
INSERT INTO {schema}.identity_hub (node_id, degree)
SELECT node_id, degree
FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, degree)
ON CONFLICT (node_id) DO UPDATE SET degree = excluded.degree
"""

MOST_LINKS = 2**40
PROBED_AT_MOST = 200_000
"""Of more pairs of a hub and an identifier the links are scanned instead."""


@dataclass(frozen=True)
class StoredIdentifier:
    """An identifier as it is stored, with the root of its profile."""

    identifier: Identifier
    key: UUID
    node_id: int
    root_id: int


@dataclass(frozen=True)
class OperationResult:
    """What an action did, or would do: profiles before and after, and event rows that moved."""

    before: dict[UUID, int]
    """Size of each profile that the action concerned, by the id it had."""
    after: list[ProfileRow]
    moved: dict[str, int] = field(default_factory=dict)
    restamp_id: int | None = None
    """Set while rows wait for slices: more than one transaction takes."""

    @property
    def is_split(self) -> bool:
        return len(self.after) > len(self.before)


@dataclass
class Operation:
    """One action inside its transaction."""

    graph: Graph
    meta: Meta
    namespaces: Sequence[str]
    actor: str
    is_dry_run: bool

    def key(self, identifier: Identifier) -> UUID:
        return node_key(self.meta.salt, identifier)

    def stored(self, identifiers: Iterable[Identifier]) -> dict[Identifier, StoredIdentifier]:
        """Those of the identifiers that are stored."""
        keys = [self.key(identifier) for identifier in identifiers]
        found = {}
        for _, node_id, root_id, key, id_type, id_value in self.graph.run(STORED, keys):
            each = StoredIdentifier(Identifier(id_type, id_value), key, node_id, root_id)
            found[each.identifier] = each
        return found

    def find(self, value: str, id_type: str | None = None) -> StoredIdentifier:
        """An identifier by its value, or by the id of a profile; DestinationError when unknown."""
        row = self.graph.conn.execute(query(self.graph.schema, FIND), [value, id_type]).fetchone()
        if row is None:
            raise DestinationError("no profile has this identifier or id")
        identifier = Identifier(row[1], row[2])
        return self.stored([identifier])[identifier]

    @contextmanager
    def any_plan(self) -> Iterator[None]:
        """For statements that may scan: the transaction is held to index probes otherwise."""
        set_planner(self.graph.conn, "on")
        yield
        set_planner(self.graph.conn, "off")

    def roots_of(self, node_ids: Collection[int]) -> dict[int, int]:
        return dict(self.graph.run(ROOTS_OF_NODES, list(node_ids)))

    def links_of(self, node_ids: Collection[int]) -> set[tuple[int, int, str]]:
        """All links, whatever their state, with one of these at an end: as (a, b, state)."""
        numbers = list(node_ids)
        alone = {row[0] for row in self.graph.run(STANDING_ALONE)}
        found = set(self.graph.run(FORWARD, numbers))
        if alone.intersection(numbers) or len(alone) * len(numbers) > PROBED_AT_MOST:
            with self.any_plan():
                return found | set(self.graph.run(BACKWARD, numbers))
        members = profile_rows.member_numbers(self.graph, set(self.roots_of(numbers).values()))
        wanted = set(numbers)
        backward = self.graph.run(FORWARD, list(alone | members))
        found.update(row for row in backward if row[1] in wanted)
        return found | set(self.graph.run(APART, numbers))

    def reevaluate(
        self,
        roots: Collection[int],
        touched: Collection[int] = (),
        *,
        stamps: Collection[UUID] = (),
    ) -> OperationResult:
        """Compute these profiles anew, hubs first; touched are the ends of links that changed.

        stamps are ids that rows may bear beside those that the profiles have and had.
        """
        graph = self.graph
        roots = set(roots) | self._rate_hubs(touched)
        known = published_ids(graph, roots)
        nodes = recompute_profiles(graph, roots)
        after_roots = sorted({node.group.root_id for node in nodes})
        rows = list(profile_rows.stored_rows(graph, after_roots, self.meta.options.null_clears))
        before = {each.rudder_id: each.size for each in known if each.is_canonical}
        gone = before.keys() - {row.rudder_id for row in rows}
        if gone:
            graph.run(profile_rows.DELETE_PROFILES, list(gone))
        profile_rows.write_rows(graph, rows)
        self._log(known, nodes)
        with self.any_plan():
            moved, restamp_id = restamp.move_rows(
                graph,
                self.meta.salt,
                self.namespaces,
                sorted({*stamps, *(each.rudder_id for each in known)}),
                actor=self.actor,
                is_dry_run=self.is_dry_run,
            )
        return OperationResult(before, rows, moved, restamp_id)

    def _rate_hubs(self, touched: Collection[int]) -> set[int]:
        """Identifiers become hubs or end to be; the roots that this concerns."""
        options = self.meta.options
        types = [ANONYMOUS_ID, *options.trait_identifiers]
        found = self.graph.run(MAY_BE_HUB, types, list(touched)).fetchall() if touched else []
        rated = {node_id: is_hub for node_id, is_hub, may_be in found if is_hub or may_be}
        if not rated:
            return set()
        may_be = [node_id for node_id, _, may_be in found if may_be]
        degrees = self.graph.stored_degrees(may_be, MOST_LINKS)
        limit = options.hub_limit
        hubs = {n: d for n, d in degrees.items() if limit is not None and d > limit}
        ended = [node_id for node_id, is_hub in rated.items() if is_hub and node_id not in hubs]
        if hubs:
            self.graph.run(MAKE_HUBS, list(hubs), list(hubs.values()))
        concerned = {node_id for node_id in hubs if not rated[node_id]} | set(ended)
        if ended:
            links = self.links_of(ended)
            concerned.update(end for a, b, _ in links for end in (a, b))
            self.graph.run(END_HUBS, ended)
        return set(self.roots_of(concerned).values())

    def _log(self, known: Iterable[Any], nodes: Iterable[StoredNode]) -> None:
        """Ids that became others, and ids that came out of others."""
        canonical = {each.root_id: each.rudder_id for each in known if each.is_canonical}
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
    """Runs an action, all or nothing; a dry run does the same and takes it back."""
    meta = graph_schema.read_meta(conn, schema)
    with graph_schema.operator_lock(conn, schema), conn.transaction(force_rollback=dry_run):
        graph_schema.lock_graph(conn, meta.oid)
        meta = graph_schema.read_meta(conn, schema)
        yield Operation(Graph(conn, schema), meta, namespaces, actor, dry_run)


def set_planner(conn: Conn, state: str) -> None:
    names = (name for name in graph_schema.PLANNER_OFF if name != "jit")
    conn.execute("; ".join(f"SET LOCAL {name} = {state}" for name in names))
