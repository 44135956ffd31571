"""The config of a Postgres warehouse."""

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
    """The server of a warehouse and how it is loaded; transform options are separate."""

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
    """Comma-separated traits that are identifiers; None keeps the setting of the graph."""
    widen_rows: int = 1_000_000
    column_budget: int = 500

    @classmethod
    def from_config(cls, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> PostgresConfig:
        """The config of a destination; DestinationError names missing or wrong values."""
        names = {field.name for field in fields(cls)}
        values = {key: value for key, value in {**config, **secrets}.items() if key in names}
        missing = [name for name in ("host", "database", "user") if not values.get(name)]
        if missing:
            raise DestinationError(f"the config of the warehouse lacks {', '.join(missing)}")
        if values.get("sslmode", "prefer") not in SSL_MODES:
            raise DestinationError(f"sslmode is {values['sslmode']!r}, expected one of {SSL_MODES}")
        parsed = cls(**values)
        parsed.traits()
        return parsed

    def traits(self) -> tuple[str, ...] | None:
        """The trait identifiers; DestinationError when a name is a type of id."""
        if self.trait_identifiers is None:
            return None
        names = (name.strip() for name in self.trait_identifiers.split(","))
        try:
            rules = Rules(trait_identifiers=tuple(dict.fromkeys(filter(None, names))))
        except ValueError as error:
            raise DestinationError(str(error)) from error
        return rules.trait_identifiers

    def conninfo(self) -> str:
        """The connection string for psycopg, with the password, so never log it."""
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
