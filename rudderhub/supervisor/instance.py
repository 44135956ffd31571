"""The file var/instance.env: the secrets of an instance and the addresses of its servers.

Only `make run` writes it. rudderhub.env reads it; variables of the environment win over it.
"""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rudderhub import env
from rudderhub.env import PREFIX, read_env_file
from rudderhub.supervisor.postgres import Postgres
from rudderhub.supervisor.server import EmbeddedError, write_private
from rudderhub.supervisor.valkey import Valkey

# Generated once: without its encryption key nobody can read the stored passwords.
_GENERATORS: dict[str, Callable[[], str]] = {
    "SECRET_KEY": lambda: secrets.token_urlsafe(50),
    "ENCRYPTION_KEYS": lambda: base64.urlsafe_b64encode(os.urandom(32)).decode(),
    "EMBEDDED_ID": lambda: secrets.token_hex(8),
    "EMBEDDED_POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(24),
    "EMBEDDED_DATABASE_PASSWORD": lambda: secrets.token_urlsafe(24),
    "EMBEDDED_WAREHOUSE_PASSWORD": lambda: secrets.token_urlsafe(24),
    "EMBEDDED_VALKEY_PASSWORD": lambda: secrets.token_urlsafe(24),
}

_CREATE_DATABASE = """
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') AS missing \\gset
\\if :missing
CREATE ROLE {name} LOGIN;
\\endif
ALTER ROLE {name} PASSWORD '{password}';
SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = '{name}') AS missing \\gset
\\if :missing
CREATE DATABASE {name} OWNER {name};
{first_time}
\\endif
REVOKE CONNECT, TEMPORARY ON DATABASE {name} FROM PUBLIC;
"""
# `SELECT * FROM tracks` works in psql; `manage.py bootstrap` creates the source Website.
_SEARCH_PATH = "ALTER DATABASE warehouse SET search_path = website, rudder_identity, public;"


MEGABYTE = 2**20
_LEAST_BUFFERS, _MOST_BUFFERS = 128 * MEGABYTE, 1024 * MEGABYTE


def _shared_buffers() -> str:
    """An eighth of the memory, so that the keys of large tables stay cached during loads.

    With the default of 128 MB a chunk of 10,000 events took 2.6 times as long into 5,000,000 rows
    as into 100,000.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{min(max(memory // 8, _LEAST_BUFFERS), _MOST_BUFFERS) // MEGABYTE}MB"


# After each checkpoint a page's first change writes the whole page to the log, and loading
# changes pages all over the keys of large tables.
_FEWER_CHECKPOINTS = {"checkpoint_timeout": "15min", "max_wal_size": "2GB"}


@dataclass
class Instance:
    """The values of instance.env, without the prefix of their names."""

    folder: Path
    values: dict[str, str]

    @property
    def path(self) -> Path:
        return self.folder / "instance.env"

    def postgres(self, options: Mapping[str, str] | None = None) -> Postgres:
        return Postgres(
            home=env.postgres_home(self.folder, self.values["EMBEDDED_ID"]),
            log=self.folder / "postgres.log",
            superuser_password=self.values["EMBEDDED_POSTGRES_PASSWORD"],
            port=int(self.values.get("EMBEDDED_POSTGRES_PORT", "0")),
            options={"shared_buffers": _shared_buffers(), **_FEWER_CHECKPOINTS, **(options or {})},
        )

    def valkey(self) -> Valkey:
        return Valkey(
            folder=self.folder / "valkey",
            log=self.folder / "valkey.log",
            password=self.values["EMBEDDED_VALKEY_PASSWORD"],
            port=int(self.values.get("EMBEDDED_VALKEY_PORT", "0")),
        )

    def remember_postgres(self, postgres: Postgres) -> None:
        """Create the missing roles and databases, and store the addresses."""
        database = self.values["EMBEDDED_DATABASE_PASSWORD"]
        warehouse = self.values["EMBEDDED_WAREHOUSE_PASSWORD"]
        postgres.run_sql(
            _CREATE_DATABASE.format(name="rudderhub", password=database, first_time="")
            + _CREATE_DATABASE.format(name="warehouse", password=warehouse, first_time=_SEARCH_PATH)
        )
        self.values["EMBEDDED_POSTGRES_PORT"] = str(postgres.port)
        self.values["DATABASE_URL"] = postgres.url("rudderhub", database, "rudderhub")
        self.values["WAREHOUSE_URL"] = postgres.url("warehouse", warehouse, "warehouse")
        self.save()

    def remember_valkey(self, valkey: Valkey) -> None:
        self.values["EMBEDDED_VALKEY_PORT"] = str(valkey.port)
        self.values["CACHE_URL"] = valkey.url
        self.save()

    def forget(self, *names: str) -> None:
        """Remove the addresses of embedded servers that the environment replaces."""
        for name in names:
            self.values.pop(name, None)
        self.save()

    def save(self) -> None:
        lines = [f"{PREFIX}{name}={value}\n" for name, value in sorted(self.values.items())]
        write_private(self.path, "# Written by `make run`. Keep it secret.\n" + "".join(lines))


def stored_values(folder: Path) -> dict[str, str]:
    """The values of the folder's instance.env, by name without the prefix; empty without one."""
    values = read_env_file(folder / "instance.env")
    return {name.removeprefix(PREFIX): value for name, value in values.items()}


def load(folder: Path) -> Instance:
    """The instance of this folder; missing secrets are generated and written."""
    instance = Instance(folder, stored_values(folder))
    if not instance.values and (folder / "postgres").exists():
        raise EmbeddedError(
            f"{instance.path} is missing, but {folder / 'postgres'} holds data that needs its "
            "passwords; restore the file from a backup, or move the folder away"
        )
    for name, generate in _GENERATORS.items():
        instance.values.setdefault(name, generate())
    instance.save()
    return instance
