from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from psycopg.conninfo import make_conninfo

from destinations.interface import DestinationError
from destinations.warehouse.identity.statements import Rules

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class PostgresConfig:
    """Where a warehouse is, and how it is loaded; options of the transform are separate."""

    host: str
    database: str
    user: str
    password: str = ""
    port: int = 5432
    sslmode: str = "prefer"
    namespace: str = ""
    identity_schema: str = "rudder_identity"
    resolve_identities: bool = True
    trait_identifiers: str | None = None
    """Names of traits that are identifiers, with commas between; None leaves the graph's own."""
    widen_rows: int = 1_000_000
    column_budget: int = 500

    @classmethod
    def from_config(cls, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> PostgresConfig:
        """From a Destination's config and secrets; DestinationError names what is missing."""
        names = {field.name for field in fields(cls)}
        given = {key: value for key, value in {**config, **secrets}.items() if key in names}
        missing = [name for name in ("host", "database", "user") if not given.get(name)]
        if missing:
            raise DestinationError(f"the config of the warehouse lacks {', '.join(missing)}")
        if given.get("sslmode", "prefer") not in SSL_MODES:
            raise DestinationError(f"sslmode is {given['sslmode']!r}, expected one of {SSL_MODES}")
        config_ = cls(**given)
        config_.traits()
        return config_

    def traits(self) -> tuple[str, ...] | None:
        """DestinationError when a name is that of an id of its own."""
        if self.trait_identifiers is None:
            return None
        names = (name.strip() for name in self.trait_identifiers.split(","))
        try:
            rules = Rules(trait_identifiers=tuple(dict.fromkeys(filter(None, names))))
        except ValueError as error:
            raise DestinationError(str(error)) from error
        return rules.trait_identifiers

    def conninfo(self) -> str:
        """For psycopg.connect; holds the password, so never log it."""
        return make_conninfo(
            host=self.host,
            port=self.port,
            dbname=self.database,
            user=self.user,
            password=self.password,
            sslmode=self.sslmode,
            connect_timeout=5,
            application_name="rudderhub",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            tcp_user_timeout=60_000,
            options="-c default_transaction_isolation=read\\ committed -c TimeZone=UTC",
        )
