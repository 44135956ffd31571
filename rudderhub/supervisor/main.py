"""`manage.py up`: check, start the embedded servers, migrate, bootstrap, run the Procfile, stop.

It imports no Django, because the settings name no database before the servers have started. The
steps that need Django run in `manage.py set_up`, a process of its own.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from rudderhub.env import PREFIX, ROOT, Env, SettingError, var_dir
from rudderhub.supervisor import instance
from rudderhub.supervisor.processes import procfile, run_processes, say
from rudderhub.supervisor.server import EmbeddedError, EmbeddedServer, port_is_free, write_private

LEAST_FREE_BYTES = 500_000_000
PORT_SECONDS = 15
HEALTH_SECONDS = 60


class UpError(Exception):
    """The instance cannot start; the message is one line for the operator."""


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run_instance(var_dir())
    except (UpError, EmbeddedError, SettingError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("stopped before it was up")
        return 0


def _run_instance(folder: Path) -> int:
    _create_folder(folder)
    with _hold_folder(folder) as after_a_crash, ExitStack() as running:
        env = Env()
        _check_disk(folder)
        _check_port(env.text("HOST"), env.integer("PORT"), PORT_SECONDS if after_a_crash else 0)
        servers = _start_servers(instance.load(folder), running)
        environment = _process_environment()
        facts = json.loads(_manage(environment, "set_up"))
        ending = run_processes(
            procfile(), environment, servers, lambda: _welcome(environment, facts)
        )
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # stopping the servers is bounded in time
    say(f"stopped, since {ending}" if ending else "stopped")
    return 1 if ending else 0


def _create_folder(folder: Path) -> None:
    """Create the folder for this account alone; an existing folder keeps its permissions."""
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UpError(
            f"{folder} cannot be written ({error.strerror}); make it writable for this account, "
            f"or set another folder in {PREFIX}VAR_DIR"
        ) from error


@contextmanager
def _hold_folder(folder: Path) -> Iterator[bool]:
    """Lock the folder; yields whether the last holder was killed.

    lockf, not flock: a forked child must not keep the lock after a `kill -9` of this process.
    """
    with (folder / "up.lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UpError(f"already running on {folder} (process {_first_line(file)})") from error
        after_a_crash = bool(_first_line(file))
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        try:
            yield after_a_crash
        finally:
            file.truncate(0)


def _first_line(file: IO[str]) -> str:
    file.seek(0)
    return file.readline().strip()


def _check_disk(folder: Path) -> None:
    for path in {folder, Path("/var/lib")} if os.geteuid() == 0 else {folder}:
        free = shutil.disk_usage(path).free
        if free < LEAST_FREE_BYTES:
            raise UpError(
                f"the disk of {path} has {free // 1_000_000} MB left,"
                f" {LEAST_FREE_BYTES // 1_000_000} are needed: free some space, or set a folder "
                f"on another disk in {PREFIX}VAR_DIR"
            )


def _check_port(host: str, port: int, patience_seconds: int) -> None:
    """Wait for the port: after a crash the old web process may take a moment to end."""
    give_up = time.monotonic() + patience_seconds
    while not port_is_free(host, port):
        if time.monotonic() >= give_up:
            raise UpError(
                f"port {port} on {host} is in use by another program; stop it, or use another "
                f"port with {PREFIX}PORT={port + 1}"
            )
        time.sleep(0.2)


def _start_servers(own: instance.Instance, running: ExitStack) -> list[EmbeddedServer]:
    """Start the servers that the environment does not replace; they stop in reverse order."""
    servers: list[EmbeddedServer] = []
    if PREFIX + "DATABASE_URL" in os.environ:
        own.forget("DATABASE_URL", "WAREHOUSE_URL")
    else:
        postgres = own.postgres()
        running.callback(postgres.stop)
        postgres.start()
        own.remember_postgres(postgres)
        servers.append(postgres)
    if PREFIX + "CACHE_URL" in os.environ:
        own.forget("CACHE_URL")
    else:
        valkey = own.valkey()
        running.callback(valkey.stop)
        valkey.start()
        own.remember_valkey(valkey)
        servers.append(valkey)
    return servers


def _process_environment() -> dict[str, str]:
    """The environment of the processes, with the settings that the Procfile uses."""
    env = Env()
    given = {
        PREFIX + name: env.text(name) for name in ("HOST", "PORT", "WEB_THREADS", "WEB_WORKERS")
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, **given, "PATH": path, "PYTHONUNBUFFERED": "1"}


def _manage(environment: dict[str, str], *arguments: str) -> str:
    """The output of a management command. Raises UpError with the reason if it fails."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # Ctrl-C reaches this process only
    )
    if done.returncode != 0:
        write_private(var_dir() / "up.log", done.stderr)
        raise UpError(
            f"`manage.py {arguments[0]}` failed: {_reason(done.stderr)}"
            f" (all of it: {var_dir()}/up.log)"
        )
    return done.stdout


def _reason(traceback: str) -> str:
    """The exception of a traceback as one line: the last line without indent, and those below."""
    lines = traceback.strip().splitlines()
    starts = [number for number, line in enumerate(lines) if not line[:1].isspace()]
    return " ".join(" ".join(lines[starts[-1] :]).split()) if starts else "it gave no reason"


def _welcome(environment: dict[str, str], facts: dict[str, Any]) -> None:
    """Print the addresses and a first command as soon as the web answers."""
    host = environment[PREFIX + "HOST"]
    reached = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104  # a comparison
    if not _web_answers(reached, int(environment[PREFIX + "PORT"])):
        say(f"the web does not answer /health after {HEALTH_SECONDS} s")
        return
    first = f"  First admin   {facts['setup_url']} (works once)\n" if facts["setup_url"] else ""
    say(
        "is running; Ctrl-C stops it\n\n"
        f"  Admin         {facts['admin_url']}\n"
        f"{first}"
        f"  Write key     {facts['write_key']}\n"
        "  Warehouse     `.venv/bin/python manage.py info` shows how to reach it\n\n"
        "Send an event:\n\n"
        f"  curl -u {facts['write_key']}: -H 'Content-Type: application/json' \\\n"
        '    -d \'{"userId": "ada", "event": "Order Completed", "properties": {"total": 42}}\' \\\n'
        f"    {facts['base_url']}/v1/track\n"
    )


def _web_answers(host: str, port: int) -> bool:
    give_up = time.monotonic() + HEALTH_SECONDS
    while time.monotonic() < give_up:
        connection = http.client.HTTPConnection(host, port, timeout=2)
        with suppress(OSError, http.client.HTTPException), closing(connection):
            connection.request("GET", "/health")
            if connection.getresponse().status == http.client.OK:
                return True
        time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
