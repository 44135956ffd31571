from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from destinations.interface import Feed
from destinations.postgres import identity, restamp, unmerge
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import connect, table_exists
from destinations.postgres.graph import Graph
from destinations.postgres.loader import PostgresSession, refresh_large_profiles
from destinations.warehouse.dialect import DESTINATION_TYPE, IDENTIFIER_LIMIT
from destinations.warehouse.naming import namespace
from destinations.warehouse.transform import Options


def move_waiting_rows(config: PostgresConfig) -> None:
    """The rows of profiles that were split, as far as the split left them, slice by slice."""
    schema = config.identity_schema
    with connect(config) as conn:
        if not table_exists(conn, schema, "identity_restamp"):
            return
        if restamp.is_waiting(Graph(conn, schema)):
            with identity.operator_lock(conn, schema):
                pass  # chunks that were resolved before the split have written their rows now
        while unmerge.restamp_next(conn, schema):
            pass


class PostgresDestination:
    """A warehouse in Postgres 15 or newer: event tables, users and resolved profiles."""

    name = DESTINATION_TYPE
    label = "Postgres warehouse"

    def open(
        self, config: Mapping[str, Any], secrets: Mapping[str, Any], feed: Feed
    ) -> PostgresSession:
        return PostgresSession(
            PostgresConfig.of(config, secrets), Options.from_config(config), feed
        )

    def upkeep(self, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
        """Refresh large profiles, and move rows of profiles that were split."""
        wanted = PostgresConfig.of(config, secrets)
        refresh_large_profiles(wanted)
        move_waiting_rows(wanted)

    def namespace(self, config: Mapping[str, Any], source_name: str) -> str:
        chosen = str(config.get("namespace") or "") or namespace(source_name)
        return chosen[:IDENTIFIER_LIMIT]
