"""Moves event rows to the present profile of their primary identifier.

A row's stamp is a present or former id of its profile. After a split the stamp can resolve to the
part without the row's primary identifier; such a row gets the other id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql as pgsql
from psycopg.sql import SQL, Composed

from destinations.postgres import catalogue
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.identity.query import columns
from destinations.postgres.resolved_views import resolved_namespaces
from destinations.postgres.temp_tables import create_temp_table, drop_temp_table
from destinations.warehouse.identity.statements import ANONYMOUS_ID, USER_ID, Identifier, node_key
from destinations.warehouse.rows.schema import PROFILE_COLUMN

AT_ONCE = 100_000
"""More rows than this move in slices with a transaction each."""
SLICE = 20_000

PEOPLE = """
SELECT t.rudder_profile_id, {user}, {device}, count(*)
FROM {table} t
WHERE t.rudder_profile_id IN (SELECT stamp FROM restamped)
GROUP BY 1, 2, 3
"""

MOVE = """
UPDATE {table} stored
SET rudder_profile_id = x.rudder_id
FROM (
    SELECT t.id, k.rudder_id
    FROM {table} t
    JOIN unnest(%s::uuid[], %s::text[], %s::text[], %s::uuid[])
        k (stamp, user_id, anonymous_id, rudder_id)
        ON t.rudder_profile_id = k.stamp
        AND coalesce({user}, '') = coalesce(k.user_id, '')
        AND coalesce({device}, '') = coalesce(k.anonymous_id, '')
    WHERE t.rudder_profile_id = ANY (%s)
    LIMIT %s
) x
WHERE stored.id = x.id
"""

CANONICAL = """
SELECT k.position, CASE WHEN h.node_id IS NULL THEN coalesce(r.rudder_id, n.node_key) END
FROM unnest(%b::uuid[]) WITH ORDINALITY k (node_key, position)
CROSS JOIN LATERAL (
    SELECT * FROM {schema}.identity_node WHERE node_key = k.node_key OFFSET 0
) n
LEFT JOIN LATERAL (
    SELECT root_id FROM {schema}.identity_component WHERE comp_id = n.comp_id OFFSET 0
) c ON true
LEFT JOIN LATERAL (
    SELECT i.rudder_id FROM {schema}.identity_component i WHERE i.comp_id = c.root_id OFFSET 0
) r ON true
LEFT JOIN LATERAL (
    SELECT node_id FROM {schema}.identity_blocked WHERE node_id = n.node_id OFFSET 0
) h ON true
"""

WAIT = """
INSERT INTO {schema}.identity_restamp (actor, published, namespaces, total)
VALUES (%s, %s, %s, %s)
RETURNING id
"""

WAITING = """
SELECT id, published, namespaces
FROM {schema}.identity_restamp
WHERE finished_at IS NULL
ORDER BY id
LIMIT 1
"""

PROGRESS = """
UPDATE {schema}.identity_restamp
SET moved = moved + %s,
    total = greatest(total, moved + %s),
    finished_at = CASE WHEN %s THEN now() END
WHERE id = %s
"""


Person = tuple[str | None, str | None]
"""A user_id and an anonymous_id of rows."""


class StampedTable(NamedTuple):
    """A table with stamped rows, and its columns that contain their identifiers."""

    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    def sql(self, text: str) -> Composed:
        user = "id" if "id" in self.columns else "user_id"
        return SQL(text).format(
            table=pgsql.Identifier(self.schema, self.name),
            user=self._text(user),
            device=self._text("anonymous_id"),
        )

    def _text(self, column: str) -> Composed:
        text = "t.{}::text" if column in self.columns else "NULL::text"
        return SQL(text).format(pgsql.Identifier(column)) if "{}" in text else SQL(text).format()


class Move(NamedTuple):
    """The rows of one stamp and person in a table that now belong to another profile."""

    stamp: UUID
    user_id: str | None
    anonymous_id: str | None
    rudder_id: UUID
    rows: int


def move_rows(
    graph: Graph,
    salt: bytes,
    namespaces: Sequence[str],
    published: Sequence[UUID],
    *,
    actor: str,
    is_dry_run: bool,
) -> tuple[dict[str, int], int | None]:
    """Move the rows with these stamps; returns row counts by table.

    If they are too many for one transaction, it queues the move and returns its number as well.
    """
    moves = pending_moves(graph, salt, namespaces, published)
    counts = {t.label: sum(move.rows for move in listed) for t, listed in moves.items()}
    total = sum(counts.values())
    if is_dry_run or not total:
        return counts, None
    if total > AT_ONCE:
        row = graph.run(WAIT, actor, list(published), list(namespaces), total).fetchall()[0]
        return counts, int(row[0])
    for table, listed in moves.items():
        _move(graph, table, listed, None)
    return counts, None


def queue_move(graph: Graph, published: Sequence[UUID], actor: str) -> None:
    """Queue a move of the rows with these stamps in all namespaces; the upkeep runs it."""
    graph.run(WAIT, actor, list(published), [], 0)


def has_waiting_move(graph: Graph) -> bool:
    return graph.run(WAITING).fetchone() is not None


def move_slice(graph: Graph, salt: bytes) -> bool:
    """Move the next slice of queued rows inside a transaction; False if none wait."""
    row = graph.run(WAITING).fetchone()
    if row is None:
        return False
    number, published, namespaces = row
    left = SLICE
    namespaces = namespaces or resolved_namespaces(graph.conn, graph.schema)
    for table, moves in pending_moves(graph, salt, namespaces, published).items():
        left -= _move(graph, table, moves, left)
        if left <= 0:
            break
    graph.run(PROGRESS, SLICE - left, SLICE - left, left > 0, number)
    return True


def stamped_tables(graph: Graph, namespaces: Sequence[str]) -> list[StampedTable]:
    return [
        StampedTable(table.schema, table.name, names)
        for table in catalogue.tables(graph.conn, namespaces)
        if PROFILE_COLUMN in table.columns and (names := _identifier_columns(table))
    ]


def _identifier_columns(table: catalogue.CatalogTable) -> tuple[str, ...]:
    names = ("id",) if table.name == "users" else ("user_id", "anonymous_id")
    return tuple(name for name in names if name in table.columns)


def pending_moves(
    graph: Graph, salt: bytes, namespaces: Sequence[str], published: Collection[UUID]
) -> dict[StampedTable, list[Move]]:
    """The moves, by table, of rows that have these stamps but a primary identifier elsewhere."""
    stamps = set(published)
    people = _stamped_people(graph, namespaces, stamps)
    owners = primary_profiles(graph, salt, {row[1:3] for rows in people.values() for row in rows})
    now = canonical_ids(graph, stamps)
    moves: dict[StampedTable, list[Move]] = {}
    for table, rows in people.items():
        for stamp, user_id, anonymous_id, count in rows:
            owner = owners.get((user_id, anonymous_id))
            if owner is not None and now.get(stamp) != owner:
                move = Move(stamp, user_id, anonymous_id, owner, count)
                moves.setdefault(table, []).append(move)
    return moves


def _stamped_people(
    graph: Graph, namespaces: Sequence[str], stamps: Collection[UUID]
) -> dict[StampedTable, list[tuple[Any, ...]]]:
    """The stamp, user, device and number of the rows with these stamps, by table."""
    create_temp_table(
        graph.conn, "restamped", "stamp uuid PRIMARY KEY", ((stamp,) for stamp in stamps)
    )
    people = {
        table: graph.conn.execute(table.sql(PEOPLE)).fetchall()
        for table in stamped_tables(graph, namespaces)
    }
    drop_temp_table(graph.conn, "restamped")
    return people


def primary_profiles(graph: Graph, salt: bytes, people: Collection[Person]) -> dict[Person, UUID]:
    """The present profile of each user and device: the user's, or the device's without one."""
    keys = {
        person: [
            node_key(salt, Identifier(kind, value))
            for kind, value in zip((USER_ID, ANONYMOUS_ID), person, strict=True)
            if value
        ]
        for person in people
    }
    now = canonical_ids(graph, {key for listed in keys.values() for key in listed})
    owners: dict[Person, UUID] = {}
    for person, listed in keys.items():
        for key in listed:
            if owner := now.get(key):
                owners.setdefault(person, owner)
    return owners


def canonical_ids(graph: Graph, keys: Collection[UUID]) -> dict[UUID, UUID | None]:
    """The present profile id of each identifier; None for a hidden one."""
    listed = list(keys)
    return {listed[position - 1]: now for position, now in graph.run(CANONICAL, listed)}


def _move(graph: Graph, table: StampedTable, moves: Sequence[Move], most: int | None) -> int:
    arrays = columns([move[:4] for move in moves])
    stamps = list({move.stamp for move in moves})
    return graph.conn.execute(table.sql(MOVE), [*arrays, stamps, most]).rowcount
