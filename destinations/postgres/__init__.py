from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from destinations.interface import Feed
from destinations.postgres.config import PostgresConfig
from destinations.postgres.loader import PostgresSession, refresh_large_profiles
from destinations.warehouse.dialect import POSTGRES
from destinations.warehouse.naming import namespace
from destinations.warehouse.transform import Options


class PostgresDestination:
    """A warehouse in Postgres 15 or newer: event tables, users and resolved profiles."""

    name = "POSTGRES"
    label = "Postgres warehouse"

    def open(
        self, config: Mapping[str, Any], secrets: Mapping[str, Any], feed: Feed
    ) -> PostgresSession:
        return PostgresSession(
            PostgresConfig.of(config, secrets), Options.from_config(config), feed
        )

    def upkeep(self, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
        """Refresh the profiles that are too large to refresh in every load."""
        refresh_large_profiles(PostgresConfig.of(config, secrets))

    def namespace(self, config: Mapping[str, Any], source_name: str) -> str:
        chosen = str(config.get("namespace") or "") or namespace(source_name)
        return chosen[: POSTGRES.identifier_limit]
