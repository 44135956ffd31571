"""Views for analysts, created on request: sessions and daily active users.

They read the event tables, because a view on top of a resolved view would keep it from being
created again when its table changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import psycopg
from psycopg import sql as pgsql
from psycopg.sql import SQL, Composable, Composed, Literal

from destinations.interface import DestinationError
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn, connect, one_line, table_exists
from destinations.warehouse.rows.reserved_names import EVENT_TABLES

SESSIONS, DAILY_ACTIVE_USERS = "rudder_sessions", "rudder_daily_active_users"
"""No event table can have a name that begins with rudder_."""

KINDS = {EVENT_TABLES[kind]: kind for kind in ("track", "page", "screen")}

ACTIVITY = """
SELECT coalesce(o.rudder_id, t.rudder_profile_id) AS rudder_id,
    coalesce(t."timestamp", t.received_at) AS at,
    {kind} AS kind
FROM {table} t
LEFT JOIN {overrides} o ON o.old_rudder_id = t.rudder_profile_id
WHERE t.rudder_profile_id IS NOT NULL
"""

CREATE_SESSIONS = """
CREATE VIEW {view} AS
WITH activity AS ({activity}),
started AS (
    SELECT *,
        coalesce(at - lag(at) OVER (PARTITION BY rudder_id ORDER BY at) > '30 minutes', true)
            AS starts
    FROM activity
),
numbered AS (
    SELECT *,
        count(*) FILTER (WHERE starts) OVER (PARTITION BY rudder_id ORDER BY at) AS session_number
    FROM started
)
SELECT rudder_id,
    session_number,
    min(at) AS started_at,
    max(at) AS ended_at,
    extract(epoch FROM max(at) - min(at)) AS duration_seconds,
    count(*) AS events,
    count(*) FILTER (WHERE kind = 'track') AS tracks,
    count(*) FILTER (WHERE kind = 'page') AS pages,
    count(*) FILTER (WHERE kind = 'screen') AS screens
FROM numbered
GROUP BY rudder_id, session_number
"""

CREATE_DAILY_ACTIVE_USERS = """
CREATE VIEW {view} AS
SELECT (at AT TIME ZONE 'UTC')::date AS day,
    count(DISTINCT rudder_id) AS users,
    count(*) AS events
FROM ({activity}) AS activity
GROUP BY 1
"""

LOCK_SECONDS = 5
"""Short, as a person waits for the page."""

VIEWS = {
    SESSIONS: (
        CREATE_SESSIONS,
        "A row is a session: events of one person without a gap of more than 30 minutes.",
    ),
    DAILY_ACTIVE_USERS: (
        CREATE_DAILY_ACTIVE_USERS,
        "A row is a UTC day with the number of persons who had a track, page or screen event.",
    ),
}


class PlannedView(NamedTuple):
    """A view that can be created, with the meaning of its rows, and whether it exists."""

    name: str
    words: str
    exists: bool
    tables: Sequence[str]
    """The tables that it reads."""


def create_analyst_views(config: PostgresConfig, namespace: str) -> list[str]:
    """(Re)create the views over the existing tables; returns their names with the namespace."""
    with _transaction(config) as conn:
        activity = _activity_query(conn, config.identity_schema, namespace)
        for name, (create, comment) in VIEWS.items():
            view = pgsql.Identifier(namespace, name)
            conn.execute(SQL("DROP VIEW IF EXISTS {}").format(view))
            conn.execute(SQL(create).format(view=view, activity=activity))
            conn.execute(SQL("COMMENT ON VIEW {} IS {}").format(view, Literal(comment)))
    return [f"{namespace}.{name}" for name in VIEWS]


def planned_analyst_views(config: PostgresConfig, namespace: str) -> list[PlannedView]:
    """The views that create_analyst_views() would create; raises the same errors."""
    with _transaction(config) as conn:
        tables = _activity_tables(conn, namespace)
        return [
            PlannedView(f"{namespace}.{name}", words, table_exists(conn, namespace, name), tables)
            for name, (_, words) in VIEWS.items()
        ]


@contextmanager
def _transaction(config: PostgresConfig) -> Iterator[Conn]:
    if not config.resolve_identities:
        raise DestinationError(
            "the views need identities, but the destination does not resolve them"
        )
    with connect(config) as conn:
        try:
            with conn.transaction():
                conn.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                yield conn
        except psycopg.Error as error:
            raise DestinationError(one_line(error)) from error


def _activity_query(conn: Conn, identity_schema: str, namespace: str) -> Composed:
    overrides = pgsql.Identifier(identity_schema, "rudder_identity_overrides")
    parts: list[Composable] = [
        SQL(ACTIVITY).format(
            kind=Literal(KINDS[name]), table=pgsql.Identifier(namespace, name), overrides=overrides
        )
        for name in _activity_tables(conn, namespace)
    ]
    return SQL("UNION ALL").join(parts)


def _activity_tables(conn: Conn, namespace: str) -> list[str]:
    tables = [name for name in KINDS if table_exists(conn, namespace, name)]
    if not tables:
        raise DestinationError(f"{namespace} has no table tracks, pages or screens yet")
    return tables
