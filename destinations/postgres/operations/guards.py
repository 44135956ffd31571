"""Changes the block list, the hub limit and the size limit, and recomputes the profiles."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from destinations.interface import DestinationError
from destinations.postgres.connection import Conn
from destinations.postgres.identity import graph_schema, profile_rows
from destinations.postgres.identity.query import query
from destinations.postgres.operations.operation import (
    MOST_LINKS,
    Operation,
    OperationResult,
    any_plan,
    begin_operation,
)
from destinations.warehouse.identity.block_list import BlockRule, compile_pattern
from destinations.warehouse.identity.statements import ANONYMOUS_ID, GraphOptions, Rules

BATCH = 1_000

INSERT_RULE = """
INSERT INTO {schema}.identity_rule_list (id_type, exact, pattern, action, actor)
VALUES (%s, %s, %s, %s, %s)
RETURNING id
"""

DELETE_RULE = """
DELETE FROM {schema}.identity_rule_list
WHERE id = %s
RETURNING id, exact, pattern, id_type, action
"""

RULES = """
SELECT id, exact, pattern, id_type, action, actor, at, hits
FROM {schema}.identity_rule_list
ORDER BY id
"""

ALL_NODES = """
SELECT n.node_id, n.id_type, n.id_value, b.rule_id
FROM {schema}.identity_node n
LEFT JOIN {schema}.identity_blocked b ON b.node_id = n.node_id
"""
NODES_OF_VALUE = f"{ALL_NODES}WHERE n.id_value = %s"

UPSERT_BLOCKED = """
INSERT INTO {schema}.identity_blocked (node_id, rule_id)
SELECT node_id, rule_id
FROM unnest(%b::bigint[], %b::bigint[]) k (node_id, rule_id)
ON CONFLICT (node_id) DO UPDATE SET rule_id = excluded.rule_id
"""

DELETE_BLOCKED = """
DELETE FROM {schema}.identity_blocked b
USING unnest(%b::bigint[]) k (node_id)
WHERE b.node_id = k.node_id
"""

HUBS_TO_RATE = """
SELECT e.node_a
FROM {schema}.identity_edge e
JOIN {schema}.identity_node a ON a.node_id = e.node_a AND a.id_type = ANY (%s)
JOIN {schema}.identity_node b ON b.node_id = e.node_b AND b.id_type = 'user_id'
WHERE e.state <> '-' AND e.node_a <> e.node_b
    AND NOT EXISTS (SELECT FROM {schema}.identity_blocked x WHERE x.node_id = e.node_b)
GROUP BY e.node_a
HAVING count(*) > %s
UNION
SELECT node_id FROM {schema}.identity_hub
"""

HUBS = """
SELECT n.id_type, n.id_value, n.node_key, h.degree, h.since
FROM {schema}.identity_hub h
JOIN {schema}.identity_node n ON n.node_id = h.node_id
ORDER BY h.degree DESC
LIMIT %s
"""

SET_OPTIONS = "UPDATE {schema}.identity_meta SET options = %s"

ALL_ROOTS = """
SELECT DISTINCT coalesce(c.root_id, n.comp_id)
FROM {schema}.identity_node n
LEFT JOIN {schema}.identity_component c ON c.comp_id = n.comp_id
"""


class ListedRule(NamedTuple):
    """A rule of the block list with its author and the number of values it blocked."""

    id: int
    exact: str | None
    pattern: str | None
    id_type: str | None
    action: str
    actor: str
    at: Any
    hits: int


class Hub(NamedTuple):
    """An identifier that joins nothing because of its number of users."""

    type: str
    value: str
    key: UUID
    degree: int
    since: datetime


@dataclass(frozen=True)
class BlockListChange:
    """The number of identifiers that a rule hides and shows, and the outcome for profiles."""

    rule_id: int
    hidden: int
    shown: int
    outcome: OperationResult


def add_rule(
    op: Operation,
    *,
    exact: str | None = None,
    pattern: str | None = None,
    id_type: str | None = None,
    action: str = "block",
) -> BlockListChange:
    """Block or allow a value or a pattern, and hide or show the identifiers that match.

    Links that events stated while a value was blocked need a replay.
    """
    if (exact is None) == (pattern is None) or action not in ("block", "allow"):
        raise DestinationError("a rule needs either an exact value or a pattern")
    if pattern is not None:
        try:
            compile_pattern(pattern)
        except ValueError as error:
            raise DestinationError(str(error)) from error
    row = op.graph.run(INSERT_RULE, id_type, exact, pattern, action, op.actor).fetchall()[0]
    return _apply_block_list(op, BlockRule(row[0], exact, pattern, id_type, action))


def remove_rule(op: Operation, rule_id: int) -> BlockListChange:
    row = op.graph.run(DELETE_RULE, rule_id).fetchone()
    if row is None:
        raise DestinationError(f"the block list has no rule {rule_id}")
    return _apply_block_list(op, BlockRule(*row))


def listed_rules(conn: Conn, schema: str) -> list[ListedRule]:
    return [ListedRule(*row) for row in conn.execute(query(schema, RULES))]


def largest_hubs(conn: Conn, schema: str, most: int = 100) -> list[Hub]:
    """The hubs with the most users first."""
    return [Hub(*row) for row in conn.execute(query(schema, HUBS), [most])]


def set_options(op: Operation, changes: Mapping[str, Any]) -> OperationResult:
    """Change fields of GraphOptions. Hubs follow; refused links stay until they are released."""
    options = _valid_options(op.meta.options, changes)
    op.graph.run(SET_OPTIONS, json.dumps(asdict(options)))
    before, op.meta = op.meta.options, replace(op.meta, options=options)
    if options.null_clears != before.null_clears and not op.is_dry_run:
        _rewrite_profiles(op)
    limit = options.hub_limit if options.hub_limit is not None else MOST_LINKS
    with any_plan(op.graph):
        types = [ANONYMOUS_ID, *options.trait_identifiers]
        rated = [row[0] for row in op.graph.run(HUBS_TO_RATE, types, limit)]
    return op.reevaluate_profiles((), rated)


def set_trait_identifiers(
    conn: Conn, schema: str, namespaces: Sequence[str], names: tuple[str, ...]
) -> None:
    """Set the traits that later identify calls state as identifiers; earlier ones need a replay.

    The hub limit applies to these types at once, and no longer to other traits.
    """
    if graph_schema.read_meta(conn, schema).options.trait_identifiers != names:
        with begin_operation(conn, schema, namespaces, actor="settings") as op:
            set_options(op, {"trait_identifiers": names})


def _valid_options(options: GraphOptions, changes: Mapping[str, Any]) -> GraphOptions:
    for name in ("hub_limit", "size_limit"):
        value = changes.get(name)
        if value is not None and (not isinstance(value, int) or value < 1):
            raise DestinationError(f"{name} is {value!r}, expected at least 1 or none")
    try:
        changed = replace(options, **changes)
        Rules(trait_identifiers=changed.trait_identifiers)
    except (TypeError, ValueError) as error:
        raise DestinationError(str(error)) from error
    return changed


def _rewrite_profiles(op: Operation) -> None:
    with any_plan(op.graph):
        roots = [row[0] for row in op.graph.run(ALL_ROOTS)]
    for start in range(0, len(roots), BATCH):
        batch = roots[start : start + BATCH]
        rows = profile_rows.stored_rows(op.graph, batch, op.meta.options.null_clears)
        profile_rows.write_rows(op.graph, list(rows))


def _apply_block_list(op: Operation, rule: BlockRule) -> BlockListChange:
    """Hide the identifiers that the list blocks now, and show those it no longer blocks."""
    blocks = graph_schema.read_rules(op.graph.conn, op.graph.schema).blocks
    hide: dict[int, int] = {}
    show: list[int] = []
    for node_id, id_type, value, hidden_by in _matching_nodes(op, rule):
        blocked_by = blocks.blocking_rule(id_type, value)
        if blocked_by is not None and hidden_by != blocked_by:
            hide[node_id] = blocked_by
        elif blocked_by is None and hidden_by is not None:
            show.append(node_id)
    outcome = _change_visibility(op, hide, show)
    return BlockListChange(rule.id, len(hide), len(show), outcome)


def _change_visibility(
    op: Operation, hide: Mapping[int, int], show: Collection[int]
) -> OperationResult:
    changed = [*hide, *show]
    if not changed:
        return OperationResult({}, [])
    ends = {end for a, b, _ in op.links(changed) for end in (a, b)} | set(changed)
    if hide:
        op.graph.run(UPSERT_BLOCKED, list(hide), list(hide.values()))
    if show:
        op.graph.run(DELETE_BLOCKED, list(show))
    concerned = ends if show else changed
    return op.reevaluate_profiles(set(op.roots(concerned).values()), ends)


def _matching_nodes(op: Operation, rule: BlockRule) -> Iterable[tuple[Any, ...]]:
    with any_plan(op.graph):
        if rule.exact is not None:
            rows = op.graph.run(NODES_OF_VALUE, rule.exact).fetchall()
        else:
            pattern = compile_pattern(rule.pattern or "")
            rows = [row for row in op.graph.run(ALL_NODES) if pattern.fullmatch(row[2])]
    return [row for row in rows if rule.id_type is None or row[1] == rule.id_type]
