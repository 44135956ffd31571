"""Reads of profiles, events and merges for the API and the admin, by index probes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed, Literal

from destinations.interface import DestinationError
from destinations.postgres import catalogue
from destinations.postgres.connection import Conn
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import query
from destinations.postgres.identity.restamp import stamped_tables
from destinations.warehouse.identity.statements import Identifier
from destinations.warehouse.rows.reserved_names import EVENT_TABLES
from destinations.warehouse.rows.schema import PROFILE_COLUMN

TYPES = {table: event_type for event_type, table in EVENT_TABLES.items()}

PROFILE = """
SELECT p.rudder_id, p.user_id, p.email, p.name, p.traits::text, p.identifiers::text,
    p.identifier_count, p.first_seen_at, p.last_seen_at, p.updated_at
FROM {schema}.rudder_profile(%s, %s) p
"""

FORMER_IDS = """
SELECT a.old_rudder_id
FROM {schema}.identity_node n
LEFT JOIN {schema}.identity_component c ON c.comp_id = n.comp_id
JOIN LATERAL (
    SELECT n.comp_id AS comp_id
    UNION
    SELECT p.comp_id FROM {schema}.identity_component p WHERE p.root_id = c.root_id
) k ON true
JOIN {schema}.identity_alias a ON a.comp_id = k.comp_id
WHERE n.node_key = %s
ORDER BY 1
"""

IDENTIFIERS = """
SELECT n.id_type, n.id_value, n.first_received_at, a.first_at, a.last_at, n.node_key
FROM {schema}.identity_node r
CROSS JOIN LATERAL {schema}.identity_members(r.comp_id) m (node_id)
JOIN {schema}.identity_node n ON n.node_id = m.node_id
LEFT JOIN {schema}.identity_activity a ON a.node_id = n.node_id
WHERE r.node_key = %s
ORDER BY n.first_received_at, n.node_key
LIMIT %s
"""

TRAITS = """
SELECT t.traits::text, n.id_type, n.id_value
FROM {schema}.identity_node r
CROSS JOIN LATERAL {schema}.identity_members(r.comp_id) m (node_id)
JOIN {schema}.identity_node n ON n.node_id = m.node_id
JOIN {schema}.identity_trait t ON t.node_id = n.node_id
WHERE r.node_key = %s
"""

LINKS = """
SELECT a.id_type, a.id_value, b.id_type, b.id_value, a.node_key, b.node_key,
    e.message_id, e.source_id, e.first_received_at, e.state::text
FROM (
    SELECT e.*
    FROM {schema}.identity_node r
    CROSS JOIN LATERAL {schema}.identity_members(r.comp_id) m (node_id)
    JOIN {schema}.identity_edge e ON e.node_a = m.node_id AND e.node_b <> e.node_a
    WHERE r.node_key = %(rudder_id)s
    UNION
    SELECT e.*
    FROM {schema}.identity_node r
    CROSS JOIN LATERAL {schema}.identity_members(r.comp_id) m (node_id)
    JOIN {schema}.identity_edge e
        ON e.node_b = m.node_id AND e.node_b <> e.node_a AND e.state <> '+'
    WHERE r.node_key = %(rudder_id)s
) e
JOIN {schema}.identity_node a ON a.node_id = e.node_a
JOIN {schema}.identity_node b ON b.node_id = e.node_b
ORDER BY e.first_received_at, e.message_id, a.node_key, b.node_key
LIMIT %(most)s
"""

EVENTS = """
(
    SELECT id::text, {kind}, {event}, {time}, received_at, {source}
    FROM {table}
    WHERE rudder_profile_id = ANY ({stamps}::uuid[]) AND {before}
    ORDER BY received_at DESC, id::text DESC
    LIMIT {limit}
)
"""

ROWS = """
SELECT to_jsonb(t)::text
FROM {table} t
WHERE t.rudder_profile_id = ANY (%s)
ORDER BY t.received_at, t.id
LIMIT %s
"""

MERGE_LOG = """
SELECT l.id, l.at, l.old_rudder_id, l.new_rudder_id, l.key_a, l.key_b, l.message_id, l.actor,
    (n.first_received_at, n.node_key) < (o.first_received_at, o.node_key),
    coalesce((
        SELECT e.state = '+'
        FROM {schema}.identity_edge e
        WHERE (e.node_a, e.node_b) IN ((a.node_id, b.node_id), (b.node_id, a.node_id))
            AND e.node_a <> e.node_b
    ), false)
FROM {schema}.identity_merge_log l
LEFT JOIN {schema}.identity_node o ON o.node_key = l.old_rudder_id
LEFT JOIN {schema}.identity_node n ON n.node_key = l.new_rudder_id
LEFT JOIN {schema}.identity_node a ON a.node_key = l.key_a
LEFT JOIN {schema}.identity_node b ON b.node_key = l.key_b
WHERE (%(rudder_id)s::uuid IS NULL OR %(rudder_id)s IN (l.old_rudder_id, l.new_rudder_id))
    AND (%(number)s::bigint IS NULL OR l.id = %(number)s)
    AND (%(before)s::bigint IS NULL OR l.id < %(before)s)
ORDER BY l.id DESC
LIMIT %(most)s
"""

NEWEST = """
SELECT p.rudder_id, p.user_id, p.email, p.name, p.traits::text, p.identifiers::text,
    p.identifier_count, p.first_seen_at, p.last_seen_at, p.updated_at
FROM (
    SELECT coalesce(r.rudder_id, n.node_key) AS rudder_id, max(n.node_id) AS newest
    FROM (SELECT * FROM {schema}.identity_node ORDER BY node_id DESC LIMIT %s) n
    LEFT JOIN {schema}.identity_component c ON c.comp_id = n.comp_id
    LEFT JOIN {schema}.identity_component r ON r.comp_id = c.root_id
    GROUP BY 1
) found
JOIN {schema}.rudder_profiles p ON p.rudder_id = found.rudder_id
ORDER BY found.newest DESC
LIMIT %s
"""

BIGGEST = """
SELECT rudder_id, size
FROM {schema}.identity_component
WHERE size > 1
ORDER BY size DESC, rudder_id
LIMIT %s
"""

NAMED = """
SELECT node_key, id_type, id_value
FROM {schema}.identity_node
WHERE node_key = ANY (%s)
"""


@dataclass(frozen=True)
class ProfileRecord:
    """A row of rudder_profiles."""

    rudder_id: UUID
    user_id: str | None
    email: str | None
    name: str | None
    traits: dict[str, Any]
    identifiers: dict[str, list[str]]
    identifier_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    updated_at: datetime


class TraitRecord(NamedTuple):
    """A trait's value and the event that set it."""

    name: str
    value: Any
    timestamp: str
    received_at: str
    message_id: str
    id_type: str
    id_value: str


class TimelineEvent(NamedTuple):
    message_id: str
    type: str
    event: str | None
    timestamp: datetime | None
    received_at: datetime
    namespace: str


class LinkRecord(NamedTuple):
    type_a: str
    value_a: str
    type_b: str
    value_b: str
    key_a: UUID
    key_b: UUID
    message_id: str
    source_id: str
    received_at: datetime
    state: str


class MergeRecord(NamedTuple):
    """A merge of one profile id into another, or a split of one from another."""

    number: int
    at: datetime
    old: UUID
    new: UUID
    key_a: UUID
    key_b: UUID
    message_id: str
    actor: str
    is_to_older: bool | None
    """Whether the new id is the older, as in a merge; None if one of them was erased."""
    is_link_in_force: bool

    @property
    def can_be_undone(self) -> bool:
        return bool(self.message_id) and self.is_link_in_force


class IdentifierRecord(NamedTuple):
    type: str
    value: str
    first_received_at: datetime
    first_at: datetime | None
    last_at: datetime | None
    key: UUID


def find_profiles(
    conn: Conn, schema: str, identifier: str, id_type: str | None = None
) -> list[ProfileRecord]:
    """The profiles with an identifier value, or with a present or former id."""
    rows = conn.execute(query(schema, PROFILE), [identifier, id_type])
    return [_profile_record(*row) for row in rows]


def _profile_record(*row: Any) -> ProfileRecord:
    values = list(row)
    values[4:6] = map(orjson.loads, values[4:6])
    return ProfileRecord(*values)


def former_ids(conn: Conn, schema: str, rudder_id: UUID) -> list[UUID]:
    return [row[0] for row in conn.execute(query(schema, FORMER_IDS), [rudder_id])]


def identifiers(
    conn: Conn, schema: str, rudder_id: UUID, most: int = 1_000
) -> list[IdentifierRecord]:
    """The profile's identifiers from the oldest, which gives the profile its id."""
    rows = conn.execute(query(schema, IDENTIFIERS), [rudder_id, most])
    return [IdentifierRecord(*row) for row in rows]


def links(conn: Conn, schema: str, rudder_id: UUID, most: int = 1_000) -> list[LinkRecord]:
    """The links of the profile's identifiers; a state is + in force, - cut or r refused."""
    values = {"rudder_id": rudder_id, "most": most}
    return [LinkRecord(*row) for row in conn.execute(query(schema, LINKS), values)]


def winning_traits(
    conn: Conn, schema: str, rudder_id: UUID, null_clears: bool
) -> list[TraitRecord]:
    """The winning value of each trait, by name."""
    best: dict[str, tuple[tuple[str, str, str], TraitRecord]] = {}
    for text, id_type, id_value in conn.execute(query(schema, TRAITS), [rudder_id]):
        for name, winners in orjson.loads(text).items():
            for value, timestamp, received_at, message_id in winners:
                when = (timestamp, received_at, message_id)
                if value is None and not null_clears:
                    continue
                earlier = best.get(name)
                if earlier is None or when > earlier[0]:
                    record = TraitRecord(name, value, *when, id_type, id_value)
                    best[name] = (when, record)
    return [record for _, (_, record) in sorted(best.items()) if record.value is not None]


def timeline(
    conn: Conn,
    namespaces: Sequence[str],
    stamps: Sequence[UUID],
    before: datetime | None = None,
    limit: int = 50,
    *,
    before_id: str | None = None,
) -> list[TimelineEvent]:
    """The newest events with these stamps, the present and former ids of a profile.

    With `before` only events received earlier; with before_id also those of the same time that
    follow that event.
    """
    parts = [
        SQL(EVENTS).format(
            kind=Literal(TYPES[table.name]),
            event=pgsql.Identifier("event") if "event" in table.columns else SQL("NULL::text"),
            time=pgsql.Identifier("timestamp")
            if "timestamp" in table.columns
            else SQL("NULL::timestamptz"),
            source=Literal(table.schema),
            table=table.sql,
            stamps=Literal(list(stamps)),
            before=_before_condition(before, before_id),
            limit=Literal(limit),
        )
        for table in catalogue.tables(conn, namespaces, TYPES)
        if PROFILE_COLUMN in table.columns
    ]
    if not parts:
        return []
    newest = SQL("SELECT * FROM ({}) e ORDER BY 5 DESC, 1 DESC LIMIT {}").format(
        SQL(" UNION ALL ").join(parts), Literal(limit)
    )
    return [TimelineEvent(*row) for row in conn.execute(newest)]


def _before_condition(moment: datetime | None, message_id: str | None) -> Composed:
    if moment is None:
        return SQL("true").format()
    if message_id is None:
        return SQL("received_at < {}").format(Literal(moment))
    return SQL("(received_at, id::text) < ({}::timestamptz, {}::text)").format(
        Literal(moment), Literal(message_id)
    )


def event_rows(
    conn: Conn, schema: str, namespaces: Sequence[str], stamps: Sequence[UUID], most: int
) -> dict[str, list[dict[str, Any]]]:
    """Rows with these stamps by table from the oldest, at most `most` per table."""
    return {
        table.label: [
            orjson.loads(text) for (text,) in conn.execute(table.sql(ROWS), [list(stamps), most])
        ]
        for table in stamped_tables(Graph(conn, schema), namespaces)
    }


def merge_log(
    conn: Conn,
    schema: str,
    rudder_id: UUID | None = None,
    most: int = 100,
    before: int | None = None,
) -> list[MergeRecord]:
    """The newest entries, of one profile or all; `before` is the number of a later entry."""
    return _merge_entries(conn, schema, rudder_id=rudder_id, before=before, most=most)


def merge_record(conn: Conn, schema: str, number: int) -> MergeRecord:
    entries = _merge_entries(conn, schema, number=number)
    if not entries:
        raise DestinationError(f"the merge log has no entry {number}")
    return entries[0]


def _merge_entries(conn: Conn, schema: str, **wanted: Any) -> list[MergeRecord]:
    values = {"rudder_id": None, "number": None, "before": None, "most": 1} | wanted
    return [MergeRecord(*row) for row in conn.execute(query(schema, MERGE_LOG), values)]


def newest_profiles(conn: Conn, schema: str, most: int = 20) -> list[ProfileRecord]:
    """The profiles with the newest identifiers."""
    return [_profile_record(*row) for row in conn.execute(query(schema, NEWEST), [3 * most, most])]


def biggest_profiles(conn: Conn, schema: str, most: int = 10) -> list[tuple[UUID, int]]:
    """Ids and sizes of the profiles with the most identifiers."""
    rows = conn.execute(query(schema, BIGGEST), [most])
    return [(rudder_id, size) for rudder_id, size in rows]


def identifiers_by_key(conn: Conn, schema: str, keys: Collection[UUID]) -> dict[UUID, Identifier]:
    rows = conn.execute(query(schema, NAMED), [list(keys)])
    return {key: Identifier(id_type, value) for key, id_type, value in rows}
