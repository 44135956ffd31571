"""Web, worker and beat as child processes that end with the supervisor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread

from rudderhub.env import ROOT
from rudderhub.supervisor.server import EmbeddedServer, end_with_parent

Process = subprocess.Popen[str]
STOP_SECONDS = 5
_COLOURS = {"web": 36, "worker": 33, "beat": 32}  # ANSI: cyan, yellow, green


def procfile() -> dict[str, str]:
    """The shell command of each process by its name."""
    text = (ROOT / "Procfile").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+): *(.+)$", text, re.MULTILINE))


def run_processes(
    commands: Mapping[str, str],
    environment: Mapping[str, str],
    servers: list[EmbeddedServer],
    when_started: Callable[[], None],
    stop_seconds: float = STOP_SECONDS,
) -> str:
    """Run the commands until a signal comes, or a process or server ends; then stop the processes.

    Returns the process that ended first and its exit code, as text; empty after a signal.
    """
    endings: SimpleQueue[str] = SimpleQueue()  # a signal handler may put while get waits
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: endings.put(""))
    processes = {name: _start(command, environment) for name, command in commands.items()}
    # Threads start after the processes, because a fork beside threads may hang.
    followers = [
        _start_thread(_follow, name, process, endings) for name, process in processes.items()
    ]
    for server in servers:
        _start_thread(_watch, server, endings)
    _start_thread(when_started)
    ending = endings.get()
    if ending:
        say(f"{ending}; stopping everything")
    give_up = time.monotonic() + stop_seconds
    for number, until in ((signal.SIGTERM, give_up), (signal.SIGKILL, give_up + stop_seconds)):
        for process, follower in zip(processes.values(), followers, strict=True):
            if follower.is_alive():  # then its pid has not been recycled
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
        for follower in followers:
            follower.join(max(0, until - time.monotonic()))
    return ending


def say(text: str) -> None:
    """Print a message of the supervisor."""
    _print(f"rudderhub: {text}")


def _start(command: str, environment: Mapping[str, str]) -> Process:
    return subprocess.Popen(  # noqa: S602  # a shell, because the commands use variables
        command,
        shell=True,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches the supervisor only
        preexec_fn=end_with_parent(signal.SIGTERM),  # noqa: PLW1509  # no lock is taken
    )


def _start_thread(function: Callable[..., None], *arguments: object) -> Thread:
    thread = Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def _follow(name: str, process: Process, endings: SimpleQueue[str]) -> None:
    """Print what the process prints until it and its children have ended."""
    try:
        _log("system", f"{name} started (pid={process.pid})")
        for line in process.stdout or ():
            _log(name, line.rstrip())
        code = process.wait()
        _log("system", f"{name} stopped (rc={code})")
        endings.put(f"{name} ended with exit code {code}")
    except OSError as error:  # the terminal or pipe that the supervisor prints to is gone
        endings.put(f"the output of {name} cannot be printed ({error.strerror})")


def _watch(server: EmbeddedServer, endings: SimpleQueue[str]) -> None:
    """Report the end of a server."""
    if server.process is not None:
        endings.put(f"{server.name} ended with exit code {server.process.wait()}")


def _log(name: str, line: str) -> None:
    prefix = f"{time.strftime('%H:%M:%S')} {name:6} | "
    if name in _COLOURS and sys.stdout.isatty():
        prefix = f"\033[{_COLOURS[name]}m{prefix}\033[0m"
    _print(prefix + line)


def _print(line: str) -> None:
    """Print in one write, so that the lines of several threads do not mix."""
    print(f"{line}\n", end="", flush=True)  # noqa: T201  # the supervisor's output, not a log
