"""Web, worker and beat under honcho, tied to the supervisor in life and death."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

from honcho.manager import Manager
from honcho.process import Popen, Process

from rudderhub import embedded

Server = embedded.Postgres | embedded.Valkey


class Parts(Manager):  # type: ignore[misc]  # honcho has no types
    """Honcho's manager, which also watches the servers and knows what ended first."""

    def __init__(self, servers: list[Server], when_started: Callable[[], None]) -> None:
        super().__init__()
        self._process_ctor = _TiedProcess
        self._servers = servers
        self._when_started = when_started
        self.death = ""

    def _start(self) -> None:
        super()._start()  # forks, so no thread may run before
        for server in self._servers:
            threading.Thread(target=self._watch, args=(server,), daemon=True).start()
        threading.Thread(target=self._when_started, daemon=True).start()

    def _watch(self, server: Server) -> None:
        if server.process is not None:
            code = server.process.wait()
            self._die(server.name, code)

    def terminate(self) -> None:
        """Called on a signal, and when a part has ended by itself: then something has a code."""
        if not self._all_started():
            threading.Timer(0.1, self.terminate).start()  # honcho knows no pid to end yet
            return
        for name, part in self._processes.items():
            if "returncode" in part:
                self._die(name, part["returncode"])
        super().terminate()

    def _die(self, name: str, code: int) -> None:
        if not self._terminating and not self.death:
            self.death = f"{name} ended with exit code {code}"
            say(f"{self.death}: stopping everything")
            super().terminate()


class _TiedProcess(Process):  # type: ignore[misc]  # honcho has no types
    """A part that ends when the supervisor is killed: see embedded.end_with_parent."""

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """Runs in a process of honcho's between the supervisor and the part."""
        embedded.end_myself_with_parent(signal.SIGKILL)
        self._child_ctor = _TiedPopen
        super().run(events, ignore_signals)


class _TiedPopen(Popen):  # type: ignore[misc]  # honcho has no types
    def __init__(self, command: str, **options: Any) -> None:
        super().__init__(command, **options, preexec_fn=embedded.end_with_parent(signal.SIGTERM))


def say(text: str) -> None:
    """A word of the supervisor to the terminal."""
    print(f"rudderhub: {text}", flush=True)  # noqa: T201  # its output, not a log
