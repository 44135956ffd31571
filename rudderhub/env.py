"""Settings that an operator may give: RUDDERHUB_<NAME> in the environment or in var/instance.env.

The environment wins over the file. `make run` writes the file: generated secrets and the
addresses of the embedded servers. docs/reference/settings.md lists every name, held by a test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
PREFIX = "RUDDERHUB_"

DEFAULTS: dict[str, str] = {
    "ALLOWED_HOSTS": "*",
    "BASE_URL": "",
    "BROKER_URL": "",
    "CACHE_URL": "",
    "COMMIT_TIMEOUT_SECONDS": "10",
    "DATABASE_URL": "",
    "DEAD_LETTER_DAYS": "90",
    "DEBUG": "false",
    "ENCRYPTION_KEYS": "",
    "HOST": "127.0.0.1",
    "INTERNAL_ROUTES": "true",
    "INTERNAL_TOKEN": "",
    "LOAD_CHUNK_BYTES": "33554432",
    "LOAD_CHUNK_EVENTS": "10000",
    "LOAD_HISTORY_DAYS": "14",
    "LOG_LEVEL": "INFO",
    "MAX_BODY_BYTES": "4096000",
    "MAX_EVENT_BYTES": "32768",
    "MIN_FREE_MB": "200",
    "PATH_PREFIX": "",
    "PORT": "8000",
    "QUARANTINE_BYTES": "268435456",
    "QUARANTINE_DAYS": "30",
    "QUARANTINE_ROWS": "10000",
    "QUARANTINE_ROW_BYTES": "4096000",
    "REQUIRE_SECOND_FACTOR": "false",
    "REQUEST_MINUTES": "60",
    "RETENTION_DAYS": "30",
    "RETENTION_GB": "0",
    "RETENTION_HARD_DAYS": "0",
    "SDK_DIR": "",
    "SECRET_KEY": "",
    "TRUSTED_PROXIES": "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7",
    "UNKNOWN_KEYS_PER_MINUTE": "600",
    "VAR_DIR": "",
    "WAREHOUSE_URL": "",
    "WEB_THREADS": "16",
    "WEB_WORKERS": "1",
    "WORKER_CONCURRENCY": "1",
}


class SettingError(ValueError):
    """The value of a setting is not valid; the message names the setting."""


def var_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of this instance's own files: data, secrets, logs."""
    return Path(environ.get(PREFIX + "VAR_DIR") or ROOT / "var").resolve()


def read_env_file(path: Path) -> dict[str, str]:
    """The NAME=value lines of a file; empty without the file."""
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


class Env:
    """Typed access to the settings."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._given = environ
        self._values = {**read_env_file(var_dir(environ) / "instance.env"), **environ}

    def text(self, name: str) -> str:
        return self._values.get(PREFIX + name, DEFAULTS[name])

    def items(self, name: str) -> list[str]:
        return [item.strip() for item in self.text(name).split(",") if item.strip()]

    def flag(self, name: str) -> bool:
        value = self.text(name).lower()
        if value not in {"true", "false", "1", "0", "yes", "no"}:
            raise SettingError(f"{PREFIX}{name} is {value!r}, expected true or false")
        return value in {"true", "1", "yes"}

    def integer(self, name: str, least: int = 1) -> int:
        try:
            value = int(self.text(name))
        except ValueError as error:
            raise SettingError(f"{PREFIX}{name} is not a whole number") from error
        if value < least:
            raise SettingError(f"{PREFIX}{name} is {value}, expected {least} or more")
        return value

    def path_prefix(self, name: str) -> str:
        """A path without a slash at its end, or "". Paths of our own pages are no valid value."""
        value = self.text(name).rstrip("/")
        if value and (not _PATH.fullmatch(value) or value.split("/")[1] in _TAKEN):
            raise SettingError(f"{PREFIX}{name} is {value!r}, expected a free path such as /data")
        return value

    def data_dir(self) -> Path | None:
        """The home folder of the embedded Postgres; None with another server."""
        name = self._values.get(PREFIX + "EMBEDDED_ID")
        if not name or PREFIX + "DATABASE_URL" in self._given:
            return None
        return postgres_home(var_dir(self._given), name)


_PATH = re.compile(r"(/[A-Za-z0-9_-]+)+")
_TAKEN = {"admin", "setup", "static"}


def database_settings(url: str) -> dict[str, object]:
    """Django's DATABASES entry for postgresql://user:password@host:port/name?option=value."""
    parts = urlsplit(url)
    if url and parts.scheme not in {"postgresql", "postgres"}:
        raise SettingError(f"{PREFIX}DATABASE_URL starts with {parts.scheme!r}, not postgresql")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": str(parts.port or ""),
        "OPTIONS": {"connect_timeout": 5, **dict(parse_qsl(parts.query))},
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
    }


SHARED_FOLDER = Path("/var/lib/rudderhub")


def postgres_home(folder: Path, name: str) -> Path:
    """The folder above the data of Postgres, for the folder and the name of an instance.

    Postgres refuses to run as root. As root it runs under `nobody`, which may not be able to enter
    the folder of the clone, so its data are in /var/lib/rudderhub/<name>/.
    """
    return SHARED_FOLDER / name if os.geteuid() == 0 else folder
