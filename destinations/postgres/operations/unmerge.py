"""Cuts links so that a profile splits, and takes cuts back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from destinations.interface import DestinationError
from destinations.postgres.connection import Conn
from destinations.postgres.identity import graph_schema, restamp
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import columns, query
from destinations.postgres.operations.operation import Operation, OperationResult, any_plan
from destinations.postgres.reads.explain import JOINED, PathStep, explain
from destinations.warehouse.identity.statements import Identifier
from destinations.warehouse.identity.union import CUT, IN_FORCE, REFUSED

Pair = tuple[Identifier, Identifier]

PATHS_TRIED = 20

INSERT_CUTS = """
INSERT INTO {schema}.identity_tombstone (key_a, key_b, actor, reason)
SELECT key_a, key_b, %b, %b
FROM unnest(%b::uuid[], %b::uuid[]) k (key_a, key_b)
ON CONFLICT (key_a, key_b) DO NOTHING
"""

DELETE_CUTS = """
DELETE FROM {schema}.identity_tombstone t
USING unnest(%b::uuid[], %b::uuid[]) k (key_a, key_b)
WHERE t.key_a = k.key_a AND t.key_b = k.key_b
"""

SET_STATE = """
UPDATE {schema}.identity_edge e
SET state = %b::text::"char"
FROM unnest(%b::bigint[], %b::bigint[]) k (node_a, node_b)
WHERE e.node_a = k.node_a AND e.node_b = k.node_b
"""

LINKS_OF_MESSAGE = """
SELECT a.id_type, a.id_value, b.id_type, b.id_value
FROM {schema}.identity_edge e
JOIN {schema}.identity_node a ON a.node_id = e.node_a
JOIN {schema}.identity_node b ON b.node_id = e.node_b
WHERE e.message_id = %s AND e.state = '+' AND e.node_a <> e.node_b
"""

NODE_IDENTIFIERS = """
SELECT node_id, id_type, id_value
FROM unnest(%b::bigint[]) k (number)
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_node WHERE node_id = k.number OFFSET 0
) n
"""

INACTIVE_LINKS = """
SELECT a.id_type, a.id_value, b.id_type, b.id_value, a.node_key, b.node_key,
    e.message_id, e.first_received_at, coalesce(t.actor, ''), coalesce(t.reason, ''), t.at
FROM {schema}.identity_edge e
JOIN {schema}.identity_node a ON a.node_id = e.node_a
JOIN {schema}.identity_node b ON b.node_id = e.node_b
LEFT JOIN {schema}.identity_tombstone t
    ON t.key_a = least(a.node_key, b.node_key) AND t.key_b = greatest(a.node_key, b.node_key)
WHERE e.state = %s::"char"
ORDER BY e.first_received_at DESC
LIMIT %s
"""


@dataclass(frozen=True)
class UnmergeResult:
    """The links that were cut, the outcome, and the path that still joins them if any."""

    cut: list[Pair]
    outcome: OperationResult
    path: list[PathStep] = field(default_factory=list)


class InactiveLink(NamedTuple):
    """A link that joins nothing because an operator cut it or the size guard refused it."""

    a: Identifier
    b: Identifier
    key_a: UUID
    key_b: UUID
    message_id: str
    received_at: datetime
    actor: str
    reason: str
    cut_at: datetime | None


def unmerge_links(
    op: Operation, pairs: Sequence[Pair], reason: str = "", *, sides: Pair | None = None
) -> UnmergeResult:
    """Cut these links for good, so that later events that state them join nothing.

    `sides` are the two identifiers to separate, unless they are the ends of these links.
    """
    keys = sorted({_link_key(op, pair) for pair in pairs})
    if any(a == b for a, b in keys):
        raise DestinationError("an identifier cannot be cut from itself")
    op.graph.run(INSERT_CUTS, op.actor, reason, *columns(keys))
    outcome = _set_link_state(op, pairs, CUT)
    return UnmergeResult(list(pairs), outcome, _remaining_path(op, [sides] if sides else pairs))


def unmerge_event(
    op: Operation,
    message_id: str,
    reason: str = "",
    *,
    more_pairs: Iterable[Pair] = (),
    sides: Pair | None = None,
) -> UnmergeResult:
    """Cut the links that an event was the first to state, and those in `more_pairs`."""
    with any_plan(op.graph):
        rows = op.graph.run(LINKS_OF_MESSAGE, message_id).fetchall()
    first = [(Identifier(*row[:2]), Identifier(*row[2:])) for row in rows]
    pairs = list({frozenset(pair): pair for pair in [*first, *more_pairs]}.values())
    if not pairs:
        raise DestinationError(f"no link is known from message {message_id!r}")
    return unmerge_links(op, pairs, reason, sides=sides)


def unmerge_identifier(op: Operation, identifier: Identifier, reason: str = "") -> UnmergeResult:
    """Cut all links in force of one identifier, so that it stands alone."""
    stored = op.stored_identifiers([identifier]).get(identifier)
    if stored is None:
        raise DestinationError("no event has this identifier")
    links = [link for link in op.links([stored.node_id]) if link[2] == IN_FORCE]
    if not links:
        raise DestinationError("the identifier has no active link")
    ends = {end for link in links for end in link[:2]}
    rows = op.graph.run(NODE_IDENTIFIERS, list(ends))
    names = {node_id: Identifier(*row) for node_id, *row in rows}
    return unmerge_links(op, [(names[a], names[b]) for a, b, _ in sorted(links)], reason)


def restore_links(op: Operation, pairs: Sequence[Pair]) -> OperationResult:
    """Take cuts back, so that links that events stated are in force again."""
    keys = [_link_key(op, pair) for pair in pairs]
    if op.graph.run(DELETE_CUTS, *columns(keys)).rowcount != len({*keys}):
        raise DestinationError("not all of these links are cut")
    return _set_link_state(op, pairs, IN_FORCE)


def release_links(op: Operation, pairs: Sequence[Pair]) -> OperationResult:
    """Put links in force that the size guard refused."""
    with any_plan(op.graph):
        links = inactive_links(op.graph.conn, op.graph.schema, REFUSED, most=2**31)
    refused = {frozenset((link.a, link.b)) for link in links}
    if any(frozenset(pair) not in refused for pair in pairs):
        raise DestinationError("not all of these links are blocked")
    return _set_link_state(op, pairs, IN_FORCE)


def move_next_slice(conn: Conn, schema: str) -> bool:
    """Move the next slice of rows after a large un-merge; False when no rows wait."""
    meta = graph_schema.read_meta(conn, schema)
    with conn.transaction():
        return restamp.move_slice(Graph(conn, schema), meta.salt)


def inactive_links(conn: Conn, schema: str, state: str, most: int = 100) -> list[InactiveLink]:
    """The newest links in this state, CUT or REFUSED."""
    rows = conn.execute(query(schema, INACTIVE_LINKS), [state, most]).fetchall()
    return [InactiveLink(Identifier(*row[:2]), Identifier(*row[2:4]), *row[4:]) for row in rows]


def _remaining_path(op: Operation, pairs: Sequence[Pair]) -> list[PathStep]:
    """The path that joins the first pair still joined, of the first PATHS_TRIED pairs."""
    for a, b in pairs[:PATHS_TRIED]:
        steps = explain(op.graph.conn, op.graph.schema, a.value, b.value, a.type, b.type)
        if steps[0].outcome == JOINED:
            return steps
    return []


def _set_link_state(op: Operation, pairs: Sequence[Pair], state: str) -> OperationResult:
    stored = op.stored_identifiers({identifier for pair in pairs for identifier in pair})
    ends = []
    for a, b in pairs:
        if a in stored and b in stored:
            x, y = stored[a].node_id, stored[b].node_id
            ends += [(x, y), (y, x)]
    if not ends:
        return OperationResult({}, [])
    op.graph.run(SET_STATE, state, *columns(ends))
    touched = {number for pair in ends for number in pair}
    return op.reevaluate_profiles({node.root_id for node in stored.values()}, touched)


def _link_key(op: Operation, pair: Pair) -> tuple[UUID, UUID]:
    a, b = sorted((op.node_key(pair[0]), op.node_key(pair[1])))
    return a, b
