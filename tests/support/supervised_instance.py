"""An instance for the benchmark and the SDKs: `manage.py up` in a temporary folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from rudderhub.env import SHARED_FOLDER, postgres_home, read_env_file
from rudderhub.supervisor.instance import stored_values
from rudderhub.supervisor.server import free_port

START_SECONDS = 180


@dataclass(frozen=True)
class Instance:
    pid: int
    info: dict[str, Any]
    database_url: str
    environ: dict[str, str]

    def switch(self, enabled: bool) -> None:
        """Let the connections load, or stop them so that only the gateway works."""
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            conn.execute("UPDATE destinations_connection SET enabled = %s", [enabled])

    def one(self, query: str) -> Any:
        with psycopg.connect(self.database_url, autocommit=True) as conn:
            row = conn.execute(query).fetchone()
        return row[0] if row else None

    def wait_until_loaded(self, seconds: float = 300) -> None:
        until = time.monotonic() + seconds
        behind = """
            SELECT (SELECT coalesce(max(id), 0) FROM events_event) > min(position)
            FROM destinations_connection
        """
        while self.one(behind):
            if time.monotonic() > until:
                raise TimeoutError(f"not loaded within {seconds} s")
            time.sleep(0.02)


@contextmanager
def running(**settings: str) -> Iterator[Instance]:
    """A running instance. Settings have no RUDDERHUB_ prefix; the environment's are ignored."""
    with tempfile.TemporaryDirectory(prefix="rudderhub-instance-") as folder:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RUDDERHUB_")}
        given = {"VAR_DIR": folder, "PORT": str(free_port())} | settings
        environ = kept | {f"RUDDERHUB_{name}": value for name, value in given.items()}
        with (Path(folder) / "up.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "up"], env=environ, stdout=output, stderr=output
            )
        try:
            yield _started(process, environ, Path(folder))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)
            _remove_data(Path(folder))


def _remove_data(folder: Path) -> None:
    """Remove the data of Postgres, which are outside the folder when root runs it."""
    home = postgres_home(folder, stored_values(folder).get("EMBEDDED_ID", ""))
    if home not in {folder, SHARED_FOLDER}:
        shutil.rmtree(home, ignore_errors=True)


def _started(process: subprocess.Popen[bytes], environ: dict[str, str], folder: Path) -> Instance:
    health = f"http://127.0.0.1:{environ['RUDDERHUB_PORT']}/health"
    until = time.monotonic() + START_SECONDS
    while not _answers(health):
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError((folder / "up.log").read_text())
        time.sleep(0.2)
    info = subprocess.run(
        [sys.executable, "manage.py", "info", "--json"],
        env=environ,
        capture_output=True,
        check=True,
    )
    url = read_env_file(folder / "instance.env")["RUDDERHUB_DATABASE_URL"]
    return Instance(process.pid, json.loads(info.stdout), url, environ)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
