"""Stores a chunk's traits, activity and accounts, and refreshes the rows of rudder_profiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from destinations.postgres.connection import Conn
from destinations.postgres.identity.graph_schema import lock_graph, read_meta
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import columns
from destinations.warehouse.identity.fold import AccountFacts, FoldedChunk, Span, joined_span
from destinations.warehouse.identity.profile_row import Member, ProfileRow, profile_row
from destinations.warehouse.identity.statements import USER_ID, Identifier
from destinations.warehouse.identity.trait_facts import Facts, joined_facts
from destinations.warehouse.identity.union import Group, Node, Profile
from destinations.warehouse.json_text import json_text

Nodes = Mapping[Identifier, Node]

REFRESHED_AT_ONCE = 5_000
"""refresh_marked() refreshes profiles with more identifiers than this."""

STORED_FACTS = """
SELECT k.node_id, t.traits
FROM unnest(%b::bigint[]) k (node_id)
CROSS JOIN LATERAL (
    SELECT traits::text FROM {schema}.identity_trait WHERE node_id = k.node_id OFFSET 0
) t
"""

WRITE_FACTS = """
INSERT INTO {schema}.identity_trait (node_id, traits)
SELECT node_id, traits::jsonb
FROM unnest(%b::bigint[], %b::text[]) k (node_id, traits)
ON CONFLICT (node_id) DO UPDATE SET traits = excluded.traits
"""

WRITE_ACTIVITY = """
INSERT INTO {schema}.identity_activity (node_id, first_at, last_at)
SELECT node_id, first_at, last_at
FROM unnest(%b::bigint[], %b::timestamptz[], %b::timestamptz[]) k (node_id, first_at, last_at)
ON CONFLICT (node_id) DO UPDATE SET first_at = excluded.first_at, last_at = excluded.last_at
"""

STORED_ACCOUNTS = """
SELECT k.position, a.traits
FROM unnest(%b::uuid[]) WITH ORDINALITY k (account_key, position)
CROSS JOIN LATERAL (
    SELECT traits::text FROM {schema}.identity_account
    WHERE account_key = k.account_key OFFSET 0
) a
"""

WRITE_ACCOUNTS = """
INSERT INTO {schema}.identity_account AS a (account_key, group_id, traits, first_at, last_at)
SELECT account_key, group_id, traits::jsonb, first_at, last_at
FROM unnest(%b::uuid[], %b::text[], %b::text[], %b::timestamptz[], %b::timestamptz[])
    k (account_key, group_id, traits, first_at, last_at)
ON CONFLICT (account_key) DO UPDATE
SET traits = excluded.traits,
    first_at = least(a.first_at, excluded.first_at),
    last_at = greatest(a.last_at, excluded.last_at)
WHERE (a.traits, a.first_at, a.last_at) IS DISTINCT FROM (
    excluded.traits,
    least(a.first_at, excluded.first_at),
    greatest(a.last_at, excluded.last_at)
)
"""

WRITE_MEMBERS = """
INSERT INTO {schema}.identity_account_member AS m (account_key, node_id, first_at, last_at)
SELECT account_key, node_id, first_at, last_at
FROM unnest(%b::uuid[], %b::bigint[], %b::timestamptz[], %b::timestamptz[])
    k (account_key, node_id, first_at, last_at)
ON CONFLICT (account_key, node_id) DO UPDATE
SET first_at = least(m.first_at, excluded.first_at),
    last_at = greatest(m.last_at, excluded.last_at)
WHERE excluded.first_at < m.first_at OR excluded.last_at > m.last_at
"""

PROFILE_MEMBERS = """
SELECT
    k.root_id, n.id_type, n.id_value, n.first_received_at, n.node_key,
    a.first_at, a.last_at, t.traits
{members_of_roots}
LEFT JOIN LATERAL (
    SELECT first_at, last_at FROM {schema}.identity_activity WHERE node_id = n.node_id OFFSET 0
) a ON true
LEFT JOIN LATERAL (
    SELECT traits::text FROM {schema}.identity_trait WHERE node_id = n.node_id OFFSET 0
) t ON true
WHERE NOT EXISTS (
    SELECT FROM {schema}.identity_blocked b WHERE b.node_id = n.node_id OFFSET 0
)
"""

MEMBER_NUMBERS = """
SELECT n.node_id
{members_of_roots}
"""

WIDEN_PROFILES = """
UPDATE {schema}.rudder_profiles p
SET first_seen_at = least(p.first_seen_at, k.first_at),
    last_seen_at = greatest(p.last_seen_at, k.last_at),
    updated_at = CASE
        WHEN k.first_at < p.first_seen_at OR k.last_at > p.last_seen_at THEN now()
        ELSE p.updated_at
    END
FROM unnest(%b::uuid[], %b::timestamptz[], %b::timestamptz[], %b::text[])
    k (rudder_id, first_at, last_at, user_id)
WHERE p.rudder_id = k.rudder_id AND (k.user_id IS NULL OR k.user_id = p.user_id)
RETURNING p.rudder_id
"""

DELETE_PROFILES = """
DELETE FROM {schema}.rudder_profiles p
USING unnest(%b::uuid[]) k (rudder_id)
WHERE p.rudder_id = k.rudder_id
"""

RENAME_PROFILES = """
UPDATE {schema}.rudder_profiles p
SET rudder_id = k.new
FROM unnest(%b::uuid[], %b::uuid[]) k (old, new)
WHERE p.rudder_id = k.old
"""

WRITE_PROFILES = """
INSERT INTO {schema}.rudder_profiles AS p (
    rudder_id, user_id, email, name, traits, identifiers, identifier_count,
    first_seen_at, last_seen_at, updated_at
)
SELECT
    rudder_id, user_id, email, name, traits::jsonb, identifiers::jsonb, identifier_count,
    first_seen_at, last_seen_at, now()
FROM unnest(
    %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::bigint[],
    %b::timestamptz[], %b::timestamptz[]
) k (
    rudder_id, user_id, email, name, traits, identifiers, identifier_count,
    first_seen_at, last_seen_at
)
ON CONFLICT (rudder_id) DO UPDATE
SET user_id = excluded.user_id,
    email = excluded.email,
    name = excluded.name,
    traits = excluded.traits,
    identifiers = excluded.identifiers,
    identifier_count = excluded.identifier_count,
    first_seen_at = excluded.first_seen_at,
    last_seen_at = excluded.last_seen_at,
    updated_at = excluded.updated_at
WHERE (
    p.user_id, p.email, p.name, p.traits, p.identifiers, p.identifier_count,
    p.first_seen_at, p.last_seen_at
) IS DISTINCT FROM (
    excluded.user_id, excluded.email, excluded.name, excluded.traits, excluded.identifiers,
    excluded.identifier_count, excluded.first_seen_at, excluded.last_seen_at
)
"""

MARK = """
INSERT INTO {schema}.identity_stale (comp_id)
SELECT comp_id
FROM unnest(%b::bigint[]) k (comp_id)
ON CONFLICT (comp_id) DO NOTHING
"""

TAKE_MARKED = "DELETE FROM {schema}.identity_stale RETURNING comp_id"

ROOTS = """
SELECT DISTINCT coalesce(c.root_id, k.comp_id)
FROM unnest(%b::bigint[]) k (comp_id)
LEFT JOIN LATERAL (
    SELECT root_id FROM {schema}.identity_component WHERE comp_id = k.comp_id OFFSET 0
) c ON true
"""


def write_facts(graph: Graph, facts: Mapping[Identifier, Facts], nodes: Nodes) -> set[Node]:
    """Join the chunk's traits to the stored ones; returns the nodes with changed traits."""
    stated = {nodes[identifier].node_id: identifier for identifier in facts}
    old = [number for number, identifier in stated.items() if not nodes[identifier].is_new]
    stored: dict[int, Facts] = {}
    if old:
        rows = graph.run(STORED_FACTS, old)
        stored = {node_id: orjson.loads(traits) for node_id, traits in rows}
    changed = {}
    for node_id, identifier in stated.items():
        before = stored.get(node_id)
        after = facts[identifier] if before is None else joined_facts(before, facts[identifier])
        if after != before:
            changed[node_id] = after
    if changed:
        graph.run(WRITE_FACTS, list(changed), [json_text(facts) for facts in changed.values()])
    return {nodes[stated[node_id]] for node_id in changed}


def write_activity(graph: Graph, activity: Mapping[Identifier, Span], nodes: Nodes) -> set[Node]:
    """Widen the stored activity; returns the nodes with changed activity."""
    changed = {}
    for identifier, span in activity.items():
        node = nodes[identifier]
        widened = joined_span(node.activity, span)
        if widened != node.activity:
            changed[node] = widened
    if changed:
        rows = [(node.node_id, *span) for node, span in changed.items()]
        graph.run(WRITE_ACTIVITY, *columns(rows))
    return set(changed)


def write_accounts(
    graph: Graph, accounts: Mapping[str, AccountFacts], keys: Mapping[str, UUID], nodes: Nodes
) -> None:
    """Store the accounts of group calls with their traits and members."""
    if not accounts:
        return
    groups = list(accounts)
    facts = {group: accounts[group].facts for group in groups}
    for position, stored in graph.run(STORED_ACCOUNTS, [keys[group] for group in groups]):
        group = groups[position - 1]
        facts[group] = joined_facts(orjson.loads(stored), facts[group])
    graph.run(
        WRITE_ACCOUNTS,
        *columns([(keys[g], g, json_text(facts[g]), *accounts[g].seen) for g in groups]),
    )
    members = [
        (keys[group], nodes[identifier].node_id, *span)
        for group in groups
        for identifier, span in accounts[group].members.items()
    ]
    graph.run(WRITE_MEMBERS, *columns(members))


class ProfileRefresh:
    """Updates rudder_profiles after a chunk."""

    def __init__(self, graph: Graph, folded: FoldedChunk, nodes: Nodes, null_clears: bool) -> None:
        self._graph = graph
        self._folded = folded
        self._nodes = nodes
        self._null_clears = null_clears

    def run(
        self,
        profiles: Sequence[Profile],
        profile_of: Mapping[Group, Profile],
        changed: set[Profile],
        active: set[Node],
    ) -> None:
        """Refresh changed profiles, and the profiles of nodes with new activity."""
        self._drop_lost(profiles)
        seen: dict[Profile, list[Node]] = {}
        for node in active:
            profile = profile_of[node.group]
            if profile not in changed:
                seen.setdefault(profile, []).append(node)
        changed = changed | self._widen(seen)
        new = {profile for profile in changed if profile.survivor.stored == 0}
        rows = list(self._new_rows(new, profile_of))
        large = [p for p in changed - new if p.size > REFRESHED_AT_ONCE]
        if large:
            self._graph.run(MARK, [profile.root_id for profile in large])
        stored = [p.root_id for p in changed - new if p.size <= REFRESHED_AT_ONCE]
        write_rows(self._graph, [*rows, *stored_rows(self._graph, stored, self._null_clears)])

    def _drop_lost(self, profiles: Sequence[Profile]) -> None:
        lost = [lost.old for profile in profiles for lost in profile.lost]
        renamed = [
            (profile.survivor.rudder_id, profile.rudder_id)
            for profile in profiles
            if profile.size > REFRESHED_AT_ONCE and _has_no_row(profile)
        ]
        if renamed:
            self._graph.run(RENAME_PROFILES, *columns(renamed))
        if lost:
            self._graph.run(DELETE_PROFILES, lost)

    def _widen(self, seen: Mapping[Profile, Sequence[Node]]) -> set[Profile]:
        """Widen the activity of unchanged profiles; returns those that need a full refresh.

        A profile keeps its user_id while no other user was seen later, so its members need not be
        read.
        """
        simple = {}
        for profile, nodes in seen.items():
            users = [node.identifier.value for node in nodes if node.identifier.type == USER_ID]
            if len(users) < 2 and all(node.activity for node in nodes):  # noqa: PLR2004
                spans = [self._folded.activity[node.identifier] for node in nodes]
                first, last = min(span[0] for span in spans), max(span[1] for span in spans)
                simple[profile.rudder_id] = (first, last, users[0] if users else None)
        done = set()
        if simple:
            arrays = columns([(rudder_id, *row) for rudder_id, row in simple.items()])
            done = {row[0] for row in self._graph.run(WIDEN_PROFILES, *arrays)}
        return {profile for profile in seen if profile.rudder_id not in done}

    def _new_rows(
        self, profiles: set[Profile], profile_of: Mapping[Group, Profile]
    ) -> Iterable[ProfileRow]:
        """The rows of profiles that consist of new members only, without reading the graph."""
        members: dict[Profile, list[Member]] = {profile: [] for profile in profiles}
        for identifier, node in self._nodes.items():
            profile = profile_of[node.group]
            if profile in members:
                members[profile].append(
                    Member(
                        identifier,
                        node.sighting.received_at,
                        node.key,
                        self._folded.activity.get(identifier),
                        self._folded.facts.get(identifier),
                    )
                )
        for profile_members in members.values():
            yield profile_row(profile_members, self._null_clears)


def stored_rows(graph: Graph, roots: Sequence[int], null_clears: bool) -> Iterable[ProfileRow]:
    """The rows of stored profiles, from their members."""
    return stored_rows_by_root(graph, roots, null_clears).values()


def stored_rows_by_root(
    graph: Graph, roots: Sequence[int], null_clears: bool
) -> dict[int, ProfileRow]:
    members: dict[int, list[Member]] = {}
    if roots:
        for row in graph.run(PROFILE_MEMBERS, list(roots)):
            members.setdefault(row[0], []).append(_member(row))
    return {root: profile_row(listed, null_clears) for root, listed in members.items()}


def is_stored_row(row: ProfileRow, stored: Sequence[Any]) -> bool:
    """Whether a stored row, with JSON as text and without updated_at, equals the row."""
    ours = _stored_row(row)
    return all(
        orjson.loads(theirs) == orjson.loads(mine) if index in _JSON_COLUMNS else theirs == mine
        for index, (mine, theirs) in enumerate(zip(ours, stored, strict=True))
    )


_JSON_COLUMNS = (4, 5)


def member_numbers(graph: Graph, roots: Iterable[int]) -> set[int]:
    return {row[0] for row in graph.run(MEMBER_NUMBERS, list(roots))}


def write_rows(graph: Graph, rows: Sequence[ProfileRow]) -> None:
    if rows:
        graph.run(WRITE_PROFILES, *columns([_stored_row(row) for row in rows]))


def refresh_marked(conn: Conn, schema: str) -> int:
    """Refresh the large profiles that loads marked; returns their number."""
    meta, graph = read_meta(conn, schema), Graph(conn, schema)
    with conn.transaction():
        lock_graph(conn, meta.oid)
        marked = [row[0] for row in graph.run(TAKE_MARKED)]
        roots = [row[0] for row in graph.run(ROOTS, marked)] if marked else []
        for root in roots:
            write_rows(graph, list(stored_rows(graph, [root], meta.options.null_clears)))
    return len(roots)


def _has_no_row(profile: Profile) -> bool:
    """Whether the profile's id is new, so that no row has it."""
    before = {profile.survivor.rudder_id, *(group.rudder_id for group in profile.losers)}
    return profile.survivor.rudder_id is not None and profile.rudder_id not in before


def _member(row: tuple[Any, ...]) -> Member:
    _, id_type, id_value, first_received_at, key, first_at, last_at, traits = row
    return Member(
        Identifier(id_type, id_value),
        first_received_at,
        key,
        (first_at, last_at) if first_at is not None else None,
        orjson.loads(traits) if traits else None,
    )


def _stored_row(row: ProfileRow) -> tuple[Any, ...]:
    """The values of the row's columns in their order, with JSON as text."""
    return (*row[:4], json_text(row.traits), json_text(row.identifiers), *row[6:])
