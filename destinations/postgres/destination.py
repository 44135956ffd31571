"""The destination type of a warehouse in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from destinations.interface import Feed
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn, connect, table_exists, translated_errors
from destinations.postgres.identity import graph_schema, restamp
from destinations.postgres.identity.graph_store import Graph
from destinations.postgres.load.session import PostgresSession, refresh_large_profiles
from destinations.postgres.operations import guards, unmerge
from destinations.warehouse.identity.statements import Rules
from destinations.warehouse.rows.naming import IDENTIFIER_LIMIT, namespace_name
from destinations.warehouse.rows.options import DESTINATION_TYPE
from destinations.warehouse.rows.transform import Options


def move_waiting_rows(config: PostgresConfig) -> None:
    """Move the rows that splits of profiles left under the old ids, slice by slice."""
    schema = config.identity_schema
    with connect(config) as conn:
        if not table_exists(conn, schema, "identity_restamp"):
            return
        if restamp.has_waiting_move(Graph(conn, schema)):
            with graph_schema.operator_lock(conn, schema):
                pass  # chunks that were resolved before the split have written their rows now
        while unmerge.move_next_slice(conn, schema):
            pass


def ensure_identities(conn: Conn, config: PostgresConfig, feed: Feed) -> Rules | None:
    """Create or update the identity schema; returns its rules, or None without resolution."""
    schema = config.identity_schema
    graph_schema.ensure_schema(conn, schema, feed.destination_id)
    if not config.resolve_identities:
        return None
    traits = config.traits()
    if traits is not None:
        namespaces = feed.namespaces or (feed.namespace,)
        guards.set_trait_identifiers(conn, schema, namespaces, traits)
    return graph_schema.read_rules(conn, schema)


class PostgresDestination:
    """A warehouse in Postgres 15 or newer: event tables, users and resolved profiles."""

    name = DESTINATION_TYPE
    label = "Postgres warehouse"

    def open(
        self, config: Mapping[str, Any], secrets: Mapping[str, Any], feed: Feed
    ) -> PostgresSession:
        parsed, options = PostgresConfig.from_config(config, secrets), Options.from_config(config)
        conn = connect(parsed)
        try:
            with translated_errors():
                rules = ensure_identities(conn, parsed, feed)
        except BaseException:
            conn.close()
            raise
        return PostgresSession(conn, parsed, options, feed, rules)

    def upkeep(self, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
        """Refresh large profiles, and move rows of profiles that were split."""
        parsed = PostgresConfig.from_config(config, secrets)
        refresh_large_profiles(parsed)
        move_waiting_rows(parsed)

    def namespace(self, config: Mapping[str, Any], source_name: str) -> str:
        chosen = str(config.get("namespace") or "") or namespace_name(source_name)
        return chosen[:IDENTIFIER_LIMIT]
