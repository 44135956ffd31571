"""Profiles as the API and the admin show them: reads only, in a few index probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import psycopg
from psycopg.sql import SQL, Literal
from psycopg.sql import Identifier as Name

from destinations.postgres.graph import query

Conn = psycopg.Connection[tuple[Any, ...]]

EVENT_TABLES = {
    "tracks": "track",
    "pages": "page",
    "screens": "screen",
    "identifies": "identify",
    "groups": "group",
    "aliases": "alias",
}

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
SELECT a.id_type, a.id_value, b.id_type, b.id_value, e.message_id, e.source_id,
    e.first_received_at, e.state::text
FROM {schema}.identity_node r
CROSS JOIN LATERAL {schema}.identity_members(r.comp_id) m (node_id)
JOIN {schema}.identity_edge e ON e.node_a = m.node_id AND e.node_b <> e.node_a
JOIN {schema}.identity_node a ON a.node_id = e.node_a
JOIN {schema}.identity_node b ON b.node_id = e.node_b
WHERE r.node_key = %s
ORDER BY e.first_received_at, e.message_id
LIMIT %s
"""

TABLES = """
SELECT table_schema, table_name, array_agg(column_name::text)
FROM information_schema.columns
WHERE table_schema = ANY (%s) AND table_name = ANY (%s)
GROUP BY 1, 2
HAVING bool_or(column_name = 'rudder_profile_id')
ORDER BY 1, 2
"""

EVENTS = """
(
    SELECT id::text, {kind}, {event}, {time}, received_at, {source}
    FROM {table}
    WHERE rudder_profile_id = ANY ({stamps}::uuid[]) AND received_at < {before}
    ORDER BY received_at DESC
    LIMIT {limit}
)
"""

MERGE_LOG = """
SELECT id, at, old_rudder_id, new_rudder_id, message_id, actor
FROM {schema}.identity_merge_log
WHERE %s::uuid IS NULL OR old_rudder_id = %s OR new_rudder_id = %s
ORDER BY id DESC
LIMIT %s
"""


@dataclass(frozen=True)
class ProfileView:
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


class TraitView(NamedTuple):
    """A trait's value and the event that it comes from."""

    name: str
    value: Any
    timestamp: str
    received_at: str
    message_id: str
    id_type: str
    id_value: str


class EventView(NamedTuple):
    message_id: str
    type: str
    event: str | None
    timestamp: datetime | None
    received_at: datetime
    namespace: str


class LinkView(NamedTuple):
    type_a: str
    value_a: str
    type_b: str
    value_b: str
    message_id: str
    source_id: str
    received_at: datetime
    state: str


class IdentifierView(NamedTuple):
    type: str
    value: str
    first_received_at: datetime
    first_at: datetime | None
    last_at: datetime | None
    key: UUID


def find(conn: Conn, schema: str, identifier: str, id_type: str | None = None) -> list[ProfileView]:
    """The profiles of an identifier's value, or of any id that a profile ever had."""
    found = conn.execute(query(schema, PROFILE), [identifier, id_type])
    return [_profile(*row) for row in found]


def _profile(*row: Any) -> ProfileView:
    values = list(row)
    values[4:6] = map(orjson.loads, values[4:6])
    return ProfileView(*values)


def former_ids(conn: Conn, schema: str, rudder_id: UUID) -> list[UUID]:
    return [row[0] for row in conn.execute(query(schema, FORMER_IDS), [rudder_id])]


def identifiers(
    conn: Conn, schema: str, rudder_id: UUID, most: int = 1_000
) -> list[IdentifierView]:
    """The oldest first: the first gives the profile its id."""
    found = conn.execute(query(schema, IDENTIFIERS), [rudder_id, most])
    return [IdentifierView(*row) for row in found]


def links(conn: Conn, schema: str, rudder_id: UUID, most: int = 1_000) -> list[LinkView]:
    """The links that make the profile; state is + in force, - cut, r refused."""
    return [LinkView(*row) for row in conn.execute(query(schema, LINKS), [rudder_id, most])]


def traits(conn: Conn, schema: str, rudder_id: UUID, null_clears: bool) -> list[TraitView]:
    """The winning value of each trait, by name."""
    best: dict[str, tuple[list[Any], TraitView]] = {}
    for text, id_type, id_value in conn.execute(query(schema, TRAITS), [rudder_id]):
        for name, winners in orjson.loads(text).items():
            for value, timestamp, received_at, message_id in winners:
                when = [timestamp, received_at, message_id]
                if value is None and not null_clears:
                    continue
                known = best.get(name)
                if known is None or when > known[0]:
                    best[name] = (
                        when,
                        TraitView(
                            name, value, timestamp, received_at, message_id, id_type, id_value
                        ),
                    )
    return [view for _, (_, view) in sorted(best.items()) if view.value is not None]


def events(
    conn: Conn,
    namespaces: Sequence[str],
    stamps: Sequence[UUID],
    before: datetime | None = None,
    limit: int = 50,
) -> list[EventView]:
    """The profile's newest events; stamps are the ids that it has and had."""
    found = conn.execute(TABLES, [list(namespaces), list(EVENT_TABLES)]).fetchall()
    if not found:
        return []
    parts = [
        SQL(EVENTS).format(
            kind=Literal(EVENT_TABLES[table]),
            event=Name("event") if "event" in columns else SQL("NULL::text"),
            time=Name("timestamp") if "timestamp" in columns else SQL("NULL::timestamptz"),
            source=Literal(schema),
            table=Name(schema, table),
            stamps=Literal(list(stamps)),
            before=SQL("'infinity'::timestamptz") if before is None else Literal(before),
            limit=Literal(limit),
        )
        for schema, table, columns in found
    ]
    newest = SQL("{} ORDER BY 5 DESC, 1 LIMIT {}").format(
        SQL(" UNION ALL ").join(parts), Literal(limit)
    )
    return [EventView(*row) for row in conn.execute(newest)]


def merge_log(
    conn: Conn, schema: str, rudder_id: UUID | None = None, most: int = 100
) -> list[tuple[Any, ...]]:
    """id, time, old id, new id, message and actor; of one profile or of all."""
    wanted = [rudder_id, rudder_id, rudder_id, most]
    return conn.execute(query(schema, MERGE_LOG), wanted).fetchall()
