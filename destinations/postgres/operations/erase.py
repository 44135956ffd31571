"""Erases identifiers from the graph and from event rows, and suppresses them in later loads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from psycopg import sql as pgsql
from psycopg.sql import SQL

from destinations.interface import DestinationError
from destinations.postgres.connection import Conn
from destinations.postgres.identity.query import columns, query
from destinations.postgres.identity.recompute import published_ids
from destinations.postgres.operations.erase_rows import erase_rows
from destinations.postgres.operations.operation import Operation, OperationResult, any_plan
from destinations.postgres.resolved_views import resolved_namespaces
from destinations.warehouse.identity.erasure import BLANK, DELETE, ErasedIdentifiers
from destinations.warehouse.identity.statements import Identifier, visible_text
from destinations.warehouse.json_text import json_text

SUPPRESS = """
INSERT INTO {schema}.identity_suppressed (node_key, mode, reason)
SELECT node_key, %b, %b
FROM unnest(%b::uuid[]) k (node_key)
ON CONFLICT (node_key) DO UPDATE SET mode = excluded.mode
"""

MEMBERS = """
SELECT n.id_type, n.id_value
FROM (SELECT comp_id FROM {schema}.identity_find(%s, %s) LIMIT 1) found
CROSS JOIN LATERAL {schema}.identity_members(found.comp_id) m (node_id)
JOIN {schema}.identity_node n ON n.node_id = m.node_id
ORDER BY 1, 2
"""

NODE_TABLES = (
    "identity_node",
    "identity_trait",
    "identity_activity",
    "identity_hub",
    "identity_blocked",
    "identity_account_member",
)

DELETE_LINKS = """
DELETE FROM {schema}.identity_edge e
USING unnest(%b::bigint[], %b::bigint[]) k (node_a, node_b)
WHERE e.node_a = k.node_a AND e.node_b = k.node_b
"""

DELETE_RULES = """
DELETE FROM {schema}.identity_rule_list l
WHERE l.actor <> 'default' AND NOT EXISTS (
    SELECT FROM {schema}.identity_blocked b
    WHERE b.rule_id = l.id AND b.node_id <> ALL (%b::bigint[])
) AND EXISTS (
    SELECT FROM unnest(%b::text[], %b::text[]) k (id_type, id_value)
    WHERE l.exact = k.id_value AND (l.id_type IS NULL OR l.id_type = k.id_type)
)
"""
"""Deletes rules that name an erased value, unless they also hide another identifier."""

ACCOUNTS = """
SELECT DISTINCT a.account_key, a.group_id, a.traits::text
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT account_key FROM {schema}.identity_account_member WHERE node_id = k.node_id OFFSET 0
) m
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_account WHERE account_key = m.account_key OFFSET 0
) a
"""

SET_ACCOUNT_TRAITS = """
UPDATE {schema}.identity_account a
SET traits = k.traits::jsonb
FROM unnest(%b::uuid[], %b::text[]) k (account_key, traits)
WHERE a.account_key = k.account_key
"""


@dataclass(frozen=True)
class ErasureResult:
    """The number of erased rows by table, and the outcome for the profiles."""

    keys: list[UUID]
    counts: dict[str, int]
    outcome: OperationResult


def profile_identifiers(
    conn: Conn, schema: str, value: str, id_type: str | None = None
) -> list[Identifier]:
    """The identifiers of the profile with this identifier or id; DestinationError without one."""
    rows = conn.execute(query(schema, MEMBERS), [value, id_type]).fetchall()
    if not rows:
        raise DestinationError("no profile has this identifier or id")
    return [Identifier(*row) for row in rows]


def check_erasable(identifiers: Collection[Identifier], mode: str) -> None:
    """DestinationError for identifiers that cannot be erased or an unknown mode."""
    if mode not in (DELETE, BLANK):
        raise DestinationError(f"mode is {mode!r}, expected {DELETE!r} or {BLANK!r}")
    if not identifiers or any(visible_text(identifier.value) is None for identifier in identifiers):
        raise DestinationError("an identifier to erase has no visible character")


def erase_identifiers(
    op: Operation, identifiers: Collection[Identifier], mode: str = DELETE, reason: str = ""
) -> ErasureResult:
    """Erase these identifiers and suppress them for good, even if no event has stated them.

    Rows with an erased primary identifier are deleted, or emptied with mode blank; in other rows
    the values become null. It may run again after a crash, but then counts less.
    """
    check_erasable(identifiers, mode)
    with any_plan(op.graph):
        resolved = resolved_namespaces(op.graph.conn, op.graph.schema)
    op.namespaces = sorted({*op.namespaces, *resolved})
    return _Erasure(op, ErasedIdentifiers(dict.fromkeys(identifiers, mode)), mode).run(reason)


class _Erasure:
    def __init__(self, op: Operation, erased: ErasedIdentifiers, mode: str) -> None:
        self._op = op
        self._erased = erased
        self._mode = mode
        self._keys = [op.node_key(identifier) for identifier in erased.modes]
        self._counts: Counter[str] = Counter()

    def run(self, reason: str) -> ErasureResult:
        op, graph = self._op, self._op.graph
        graph.run(SUPPRESS, self._mode, reason, self._keys)
        stored = op.stored_identifiers(self._erased.modes)
        numbers = [node.node_id for node in stored.values()]
        links = op.links(numbers) if numbers else set()
        neighbours = {end for a, b, _ in links for end in (a, b)} - set(numbers)
        roots = {node.root_id for node in stored.values()}
        reached = roots | set(op.roots(neighbours).values())
        stamps = [*self._keys, *(row.rudder_id for row in published_ids(graph, reached))]
        with any_plan(graph):
            is_known = len(stored) == len(self._keys)
            self._counts += erase_rows(op, self._erased, self._mode, stamps, is_known=is_known)
            self._erase_accounts(numbers)
            named = columns(list(self._erased.modes))
            self._counts["identity_rule_list"] = graph.run(DELETE_RULES, numbers, *named).rowcount
        self._erase_graph(numbers, links)
        outcome = op.reevaluate_profiles(roots, neighbours, stamps=self._keys)
        return ErasureResult(
            self._keys, {k: n for k, n in sorted(self._counts.items()) if n}, outcome
        )

    def _erase_accounts(self, node_ids: Sequence[int]) -> None:
        """Delete accounts with an erased value as their id, and clear the traits of others."""
        graph, gone, changed = self._op.graph, [], {}
        for key, group_id, text in graph.run(ACCOUNTS, list(node_ids)).fetchall():
            facts = orjson.loads(text)
            if group_id in self._erased.values:
                gone.append(key)
            elif (cleared := self._erased.cleared_facts(facts)) != facts:
                changed[key] = json_text(cleared)
        for table in ("identity_account_member", "identity_account"):
            self._delete_rows(table, "account_key = ANY (%b::uuid[])", gone)
        graph.run(SET_ACCOUNT_TRAITS, list(changed), list(changed.values()))
        self._counts["identity_account (values)"] = len(changed)

    def _erase_graph(self, numbers: Sequence[int], links: Collection[tuple[int, int, str]]) -> None:
        graph = self._op.graph
        ends = [(a, b) for a, b, _ in links] + [(number, number) for number in numbers]
        if ends:
            arrays = [[a for a, _ in ends], [b for _, b in ends]]
            self._counts["identity_edge"] = graph.run(DELETE_LINKS, *arrays).rowcount
        for table in NODE_TABLES:
            self._delete_rows(table, "node_id = ANY (%b::bigint[])", list(numbers))
        self._delete_rows("identity_alias", "old_rudder_id = ANY (%b::uuid[])", self._keys)
        cut = "key_a = ANY (%b::uuid[]) OR key_b = ANY (%b::uuid[])"
        self._delete_rows("identity_tombstone", cut, self._keys, self._keys)
        self._delete_rows("rudder_profiles", "rudder_id = ANY (%b::uuid[])", self._keys)

    def _delete_rows(self, table: str, condition: str, *values: list[Any]) -> None:
        graph = self._op.graph
        name = pgsql.Identifier(graph.schema, table)
        text = SQL("DELETE FROM {} WHERE {}").format(name, SQL(condition))
        self._counts[table] += graph.conn.execute(text, values).rowcount
