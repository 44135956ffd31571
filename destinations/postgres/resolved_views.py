"""The resolved views, which show event rows under the current id of their profile."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql as pgsql
from psycopg.errors import InvalidTableDefinition
from psycopg.sql import SQL, Composed

from destinations.postgres.connection import Conn
from destinations.warehouse.rows.reserved_names import SYSTEM_TABLES

CREATE = """
CREATE OR REPLACE VIEW {view} AS
SELECT {columns}
FROM {table} t
LEFT JOIN {overrides} o ON o.old_rudder_id = t.rudder_profile_id
"""

NAMESPACES = """
SELECT DISTINCT n.nspname
FROM pg_depend d
JOIN pg_rewrite r ON r.oid = d.objid
JOIN pg_class v ON v.oid = r.ev_class
JOIN pg_namespace n ON n.oid = v.relnamespace
WHERE d.refobjid = to_regclass(%s) AND v.relname = ANY (%s)
ORDER BY 1
"""


def resolved_namespaces(conn: Conn, identity_schema: str) -> list[str]:
    """The event schemas with views of these identities, including those of removed connections."""
    overrides = pgsql.Identifier(identity_schema, "rudder_identity_overrides").as_string(conn)
    views = [f"{table}_resolved" for table in SYSTEM_TABLES]
    return [row[0] for row in conn.execute(NAMESPACES, [overrides, views])]


def create_resolved_view(
    conn: Conn, identity_schema: str, event_schema: str, table: str, columns: Sequence[str]
) -> None:
    """(Re)create <table>_resolved over these columns, in the order of the catalogue.

    Does nothing for a table without such a view. Runs in the open transaction or else in its own.
    rudder_id stands first, so that a new column can be added at the end. After other changes of
    columns the view is dropped and created again.
    """
    if table not in SYSTEM_TABLES:
        return
    create = _create_statement(identity_schema, event_schema, table, columns)
    try:
        with conn.transaction():
            conn.execute(create)
    except InvalidTableDefinition:
        with conn.transaction():
            drop_resolved_view(conn, event_schema, table)
            conn.execute(create)


def drop_resolved_view(conn: Conn, event_schema: str, table: str) -> None:
    """Drop the view, so that a column can change its type; create it in the same transaction."""
    conn.execute(
        SQL("DROP VIEW IF EXISTS {}").format(pgsql.Identifier(event_schema, f"{table}_resolved"))
    )


def _create_statement(
    identity_schema: str, event_schema: str, table: str, columns: Sequence[str]
) -> Composed:
    selected = [SQL("coalesce(o.rudder_id, t.rudder_profile_id) AS rudder_id")]
    selected += [
        SQL("t.{}").format(pgsql.Identifier(name))  # type: ignore[misc]
        for name in columns
        if name != "rudder_id"
    ]
    return SQL(CREATE).format(
        view=pgsql.Identifier(event_schema, f"{table}_resolved"),
        columns=SQL(", ").join(selected),
        table=pgsql.Identifier(event_schema, table),
        overrides=pgsql.Identifier(identity_schema, "rudder_identity_overrides"),
    )
