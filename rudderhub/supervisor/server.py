"""The common parts of the two embedded servers: one process that starts, answers and stops."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

START_SECONDS = 60
STOP_SECONDS = 30
ORPHAN_SECONDS = 10
"""The time that is left to a server of an earlier run to end."""
LOG_BYTES = 10_000_000
_PR_SET_PDEATHSIG = 1


class EmbeddedError(Exception):
    """An embedded server cannot run; the message names it, the cause and the remedy."""


@dataclass(kw_only=True)
class EmbeddedServer(ABC):
    """A server process on 127.0.0.1 that appends to a log file."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    log: Path
    port: int = 0
    """The port of the last run; `start` replaces it if it is in use."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @abstractmethod
    def start(self) -> None:
        """Start the server, on the port of the last run if it is free; return when it answers."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether the started process answers."""

    def stop(self) -> None:
        """Send the stop signal, and kill the process if it does not end in time."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _launch(self, command: Sequence[str], **options: Any) -> bool:
        """Run the command until it is ready; False if it ends before. The options are Popen's."""
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with os.fdopen(os.open(self.log, flags, 0o600), "ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                **options,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(self.stop_signal),  # noqa: PLW1509  # no lock is taken
            )
        give_up = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > give_up:
                self.process.kill()
                self.process.wait()
                raise EmbeddedError(f"{self.name} did not answer within {START_SECONDS} seconds")
            time.sleep(0.02)
        return True

    def _start_error(self) -> EmbeddedError:
        """The error of a server that ended before it was ready, with the last line of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1] if lines else "it wrote nothing"
        return EmbeddedError(f"{self.name} does not start: {reason} ({self.log})")


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
    """A preexec_fn: the child gets this signal when the process that started it ends.

    A `kill -9` of the supervisor therefore leaves no server behind that blocks the next start. A
    pid file could not tell a recycled pid. Only Linux has this; elsewhere the next start finds and
    stops the orphans (see Postgres and Valkey).
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    parent = os.getpid()

    def request_signal() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
            if os.getppid() != parent:  # it ended before the request
                os._exit(1)

    return request_signal


def write_private(path: Path, text: str) -> None:
    """Write a file that only this account may read, in one step."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
