"""Identity resolution in the warehouse: the graph's tables, its locks, and one chunk's T1."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Literal

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.postgres import profiles
from destinations.postgres.connection import Conn, table_exists
from destinations.postgres.graph import Graph, query
from destinations.postgres.split import resplit
from destinations.warehouse.blocks import DEFAULT_RULES, BlockList, BlockRule
from destinations.warehouse.folding import Folded, fold
from destinations.warehouse.graph import (
    CUT,
    IN_FORCE,
    REFUSED,
    Group,
    Link,
    LostId,
    Node,
    Profile,
    find,
    settle,
    unite,
)
from destinations.warehouse.identity import (
    ANONYMOUS_ID,
    USER_ID,
    GraphOptions,
    Identifier,
    Rules,
    Statement,
    node_key,
)

logger = logging.getLogger(__name__)

VERSION = 3
SQL_FILES = ("identity.sql", "explain.sql", "comments.sql")
LOCK_TIMEOUT_SECONDS = 10
GRAPH_LOCK, OPERATOR_LOCK, SCHEMA_LOCK = 728_301, 728_302, 728_303
"""Classes of advisory locks; the second number is the oid of identity_meta."""

PLANNER_OFF = ("jit", "enable_hashjoin", "enable_mergejoin", "enable_seqscan")

META = """
SELECT m.destination_id, m.version, current_setting('transaction_isolation'), m.options,
    m.salt, m.id_types,
    EXISTS (SELECT FROM {schema}.identity_suppressed)
    OR EXISTS (SELECT FROM {schema}.identity_blocked),
    EXISTS (SELECT FROM {schema}.identity_tombstone),
    m.tableoid::int
FROM {schema}.identity_meta m
"""

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

ADD_META = """
INSERT INTO {schema}.identity_meta (destination_id, salt, version, options)
VALUES (%s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""

SET_VERSION = "UPDATE {schema}.identity_meta SET version = %s WHERE version < %s"

ADD_RULE = """
INSERT INTO {schema}.identity_rule_list (id, id_type, exact, pattern, action, actor)
VALUES (%s, %s, %s, %s, %s, 'default')
ON CONFLICT DO NOTHING
"""

RULES = """
SELECT id, exact, pattern, id_type, action
FROM {schema}.identity_rule_list
ORDER BY id
"""

COUNT_HITS = """
UPDATE {schema}.identity_rule_list l
SET hits = l.hits + k.hits
FROM unnest(%b::bigint[], %b::bigint[]) k (id, hits)
WHERE l.id = k.id
"""


@dataclass(frozen=True)
class Meta:
    destination_id: str
    options: GraphOptions
    salt: bytes
    id_types: Sequence[str]
    has_hidden: bool
    has_tombstones: bool
    oid: int


def ensure_schema(
    conn: Conn, schema: str, destination_id: str, options: GraphOptions | None = None
) -> None:
    """Create or update the identity schema; refuses one that belongs to another destination.

    options are stored when they are given; without, a new graph has the defaults.
    """
    if "%" in schema:  # psycopg would take it for a placeholder
        raise DestinationError(f"the schema name {schema!r} contains %, which is not supported")
    if not _is_current(conn, schema):
        with conn.transaction():
            _wait(conn, "SELECT pg_advisory_xact_lock({}, hashtext({}))", SCHEMA_LOCK, schema)
            _create(conn, schema, destination_id)
    meta = read_meta(conn, schema)
    if meta.destination_id != destination_id:
        raise DestinationError(
            f"the schema {schema!r} holds the identities of destination {meta.destination_id!r}; "
            f"destination {destination_id!r} needs another schema"
        )
    if options is not None and options != meta.options:
        text = query(schema, "UPDATE {schema}.identity_meta SET options = %s")
        conn.execute(text, [json.dumps(asdict(options))])


def read_meta(conn: Conn, schema: str, *, any_isolation: bool = False) -> Meta:
    """The graph's row. Whoever writes must be in READ COMMITTED; a reader may take a snapshot."""
    row = conn.execute(query(schema, META)).fetchone()
    if row is None:
        raise DestinationError(f"the table identity_meta of schema {schema!r} is empty")
    destination_id, version, isolation, options, *rest = row
    if version != VERSION:
        raise DestinationError(
            f"the schema {schema!r} is of version {version}, expected {VERSION}; run one version "
            "of rudderhub"
        )
    if isolation != "read committed" and not any_isolation:
        raise DestinationError(
            f"the warehouse connection's isolation is {isolation!r}, expected 'read committed'"
        )
    known = {**options, "trait_identifiers": tuple(options.get("trait_identifiers", ()))}
    return Meta(destination_id, GraphOptions(**known), *rest)


def read_rules(conn: Conn, schema: str, *, any_isolation: bool = False) -> Rules:
    """The block list and the trait identifiers, for statement()."""
    listed = [BlockRule(*row) for row in conn.execute(query(schema, RULES))]
    try:
        blocks = BlockList(listed)
    except ValueError as error:
        raise DestinationError(f"the block list of schema {schema!r}: {error}") from error
    meta = read_meta(conn, schema, any_isolation=any_isolation)
    return Rules(blocks, meta.options.trait_identifiers)


@contextmanager
def operator_lock_shared(conn: Conn, schema: str) -> Iterator[None]:
    """Held from before a chunk's T1 until after its T2: operators' actions wait, or it does."""
    with _operator_lock(conn, schema, "_shared"):
        yield


@contextmanager
def operator_lock(conn: Conn, schema: str) -> Iterator[None]:
    """Held by an operator's action: no chunk is between its T1 and its T2."""
    with _operator_lock(conn, schema, ""):
        yield


@contextmanager
def _operator_lock(conn: Conn, schema: str, kind: str) -> Iterator[None]:
    oid = read_meta(conn, schema).oid
    with conn.transaction():  # lock_timeout ends with it, the lock does not
        _wait(conn, f"SELECT pg_advisory_lock{kind}({{}}, {{}})", OPERATOR_LOCK, oid)
    try:
        yield
    finally:
        if not conn.closed:  # else the lock went with the session
            unlock = SQL(f"SELECT pg_advisory_unlock{kind}({{}}, {{}})")
            conn.execute(unlock.format(Literal(OPERATOR_LOCK), Literal(oid)))


def resolve(
    conn: Conn,
    schema: str,
    statements: Sequence[Statement],
    warn: Callable[[str], None] = logger.warning,
) -> dict[Identifier, UUID]:
    """T1 of a chunk: graph, traits and profiles, committed; the profile of each primary identifier.

    A primary identifier that is suppressed or hidden is missing from the result. Running it again
    changes nothing. Call it under operator_lock_shared(). warn is told of links that were held.
    """
    if not statements:
        return {}
    meta = read_meta(conn, schema)
    distinct = {identifier for stated in statements for identifier in stated.identifiers}
    keys = {identifier: node_key(meta.salt, identifier) for identifier in distinct}
    hidden = _hidden(conn, schema, keys) if meta.has_hidden else set()
    folded = fold(statements, hidden)
    with conn.transaction():
        lock_graph(conn, meta.oid)
        resolution = Resolution(Graph(conn, schema), meta, folded, keys)
        profile_of = resolution.resolve()
    if resolution.held:
        warn(f"merges blocked by the size limit: {resolution.held}")
    return profile_of


def suppressed(conn: Conn, schema: str, statements: Iterable[Statement]) -> dict[Identifier, str]:
    """The identifiers of a chunk that were erased, with their mode. Call it under the lock, too."""
    meta = read_meta(conn, schema)
    if not meta.has_hidden:
        return {}
    named = list({identifier for stated in statements for identifier in stated.identifiers})
    keys = [node_key(meta.salt, identifier) for identifier in named]
    rows = conn.execute(query(schema, SUPPRESSED), [keys], binary=True)
    return {named[position - 1]: mode for position, mode in rows}


def refresh_marked(conn: Conn, schema: str) -> int:
    """Refresh the rows of large profiles that loads only marked; how many there were."""
    meta = read_meta(conn, schema)
    with conn.transaction():
        lock_graph(conn, meta.oid)
        return profiles.refresh_marked(Graph(conn, schema), meta.options.null_clears)


class Resolution:
    """The steps of T1, in order; the numbers in brackets are those of the specification."""

    def __init__(
        self, graph: Graph, meta: Meta, folded: Folded, keys: Mapping[Identifier, UUID]
    ) -> None:
        self.graph = graph
        self.meta = meta
        self.folded = folded
        self.keys = keys
        self.held = 0

    def resolve(self) -> dict[Identifier, UUID]:
        graph, folded, options = self.graph, self.folded, self.meta.options
        nodes = graph.nodes(folded.sightings, self.keys)  # [1, 4]
        links = graph.new_links(folded.links, nodes, self.meta.has_tombstones)  # [2]
        resplit_groups = self._flip_hubs(list(nodes.values()), links)  # [3]
        joined = unite(filter(_may_join, links), options.size_limit)  # [5, 6]
        self.held = sum(link.state == REFUSED for link in links)
        groups = {node.group: None for node in nodes.values()} | dict.fromkeys(resplit_groups)
        settled = settle(groups, nodes.values(), joined)  # [7]
        profile_of = _profile_of(groups, settled)
        graph.write_links(links)
        graph.write_profiles(settled)  # [8, 9]
        graph.write_nodes(list(nodes.values()), profile_of)  # [10, 11]
        graph.remember_types({each.type for each in nodes}, self.meta.id_types)
        self.write_profiles(nodes, settled, profile_of, resplit_groups)  # [12, 13]
        self._count_hits()
        return {each: profile_of[nodes[each].group].rudder_id for each in folded.activity}

    def _flip_hubs(self, nodes: Sequence[Node], links: Sequence[Link]) -> list[Group]:
        """Identifiers that got more users than the limit leave their profile, which re-splits."""
        limit = self.meta.options.hub_limit
        if limit is None:
            return []
        new_users = _new_users(links, self.meta.options.trait_identifiers)
        known = [node for node in new_users if not node.is_new and not node.is_hub]
        stored: dict[int, int] = {}
        if known:
            stored = self.graph.stored_degrees([node.node_id for node in known], limit + 1)
        degrees = {node: stored.get(node.node_id, 0) + len(new_users[node]) for node in new_users}
        flipped = [node for node in new_users if not node.is_hub and degrees[node] > limit]
        grown = {node.node_id: len(new_users[node]) for node in new_users if node.is_hub}
        self.graph.write_hubs({**grown, **{node.node_id: degrees[node] for node in flipped}})
        for node in flipped:
            node.is_hub = True
        return self._split_off(flipped, nodes, new_users)

    def _split_off(
        self,
        hubs: Sequence[Node],
        nodes: Sequence[Node],
        new_users: Mapping[Node, Sequence[Link]],
    ) -> list[Group]:
        """Re-split the stored profiles of new hubs; the groups that they became."""
        parts: list[Group] = []
        for hub in hubs:
            before = hub.group
            if not before.has_row:
                continue  # alone, or another hub has just split their profile
            group_of = resplit(self.graph, [before.root_id])
            for node in nodes:
                node.group = group_of.get(node.node_id, node.group)
            split = list(dict.fromkeys(group_of.values()))
            link = min(new_users[hub], key=lambda link: link.order)
            self.graph.log(_ids_split_off(before, split, hub, link), "hub limit")
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
        taught = profiles.write_facts(graph, folded.facts, nodes)
        active = profiles.write_activity(graph, folded.activity, nodes)
        account_keys = {
            group: node_key(self.meta.salt, Identifier("group_id", group))
            for group in folded.accounts
        }
        profiles.write_accounts(graph, folded.accounts, account_keys, nodes)
        changed = {profile for profile in settled if profile.is_changed}
        changed.update(profile_of[group] for group in resplit_groups)
        changed.update(profile_of[node.group] for node in taught)
        changed.update(
            profile_of[node.group] for node in nodes.values() if node.is_new or node.is_older
        )
        refresh = profiles.Refresh(graph, folded, nodes, self.meta.options.null_clears)
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
    """The new links with a user_id of each identifier that can be a hub."""
    may_be_hub = {ANONYMOUS_ID, *trait_identifiers}
    found: dict[Node, list[Link]] = {}
    for link in links:
        if link.state == CUT:
            continue
        for node, other in ((link.a, link.b), (link.b, link.a)):
            if node.identifier.type in may_be_hub and other.identifier.type == USER_ID:
                found.setdefault(node, []).append(link)
    return found


def _ids_split_off(before: Group, parts: Sequence[Group], hub: Node, link: Link) -> list[LostId]:
    old = before.anchor.key
    message_id = link.sighting.message_id
    return [
        LostId(old, part.anchor.key, part.root_id, hub.key, hub.key, message_id)
        for part in parts
        if part.anchor.key != old
    ]


def _profile_of(groups: Collection[Group], settled: Sequence[Profile]) -> dict[Group, Profile]:
    profiles_by_top = {find(profile.survivor): profile for profile in settled}
    return {group: profiles_by_top[find(group)] for group in groups}


def _hidden(conn: Conn, schema: str, keys: Mapping[Identifier, UUID]) -> set[Identifier]:
    """The identifiers that are erased, or blocked after they were stored."""
    named = list(keys)
    rows = conn.execute(query(schema, HIDDEN), [list(keys.values())], binary=True)
    return {named[position - 1] for (position,) in rows}


def lock_graph(conn: Conn, oid: int, *, any_plan: bool = False) -> None:
    """One writer a graph. Every statement of T1 probes indexes: keep the planner to that."""
    probes = "".join(f"SET LOCAL {name} = off; " for name in PLANNER_OFF if not any_plan)
    _wait(conn, f"{probes}SELECT pg_advisory_xact_lock({{}}, {{}})", GRAPH_LOCK, oid)


def _wait(conn: Conn, lock: str, lock_class: int, key: int | str) -> None:
    """Take a lock, in a transaction; DestinationUnavailableError when it takes too long."""
    text = f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s'; {lock}"
    try:
        conn.execute(SQL(text).format(Literal(lock_class), Literal(key)))
    except LockNotAvailable as error:
        raise DestinationUnavailableError(
            f"the identity graph was locked for more than {LOCK_TIMEOUT_SECONDS} seconds"
        ) from error


def _is_current(conn: Conn, schema: str) -> bool:
    if not table_exists(conn, schema, "identity_meta"):
        return False
    stored = conn.execute(query(schema, "SELECT version FROM {schema}.identity_meta")).fetchone()
    return stored is not None and stored[0] >= VERSION


def _create(conn: Conn, schema: str, destination_id: str) -> None:
    exists = conn.execute("SELECT to_regnamespace(quote_ident(%s)) IS NOT NULL", [schema])
    if exists.fetchone() != (True,):
        conn.execute(query(schema, "CREATE SCHEMA {schema}"))
    for name in SQL_FILES:
        file = Path(__file__).with_name(name)
        conn.execute(query(schema, file.read_text(encoding="utf-8")))
    row = [destination_id, secrets.token_bytes(32), VERSION, json.dumps(asdict(GraphOptions()))]
    conn.execute(query(schema, ADD_META), row)
    conn.execute(query(schema, SET_VERSION), [VERSION, VERSION])
    with conn.cursor() as cursor:
        cursor.executemany(
            query(schema, ADD_RULE),
            [
                (rule.id, rule.id_type, rule.exact, rule.pattern, rule.action)
                for rule in DEFAULT_RULES
            ],
        )
