"""The real server for wire tests, requests as cases/gateway_cases.json writes them, matchers."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from tests.support.wait import wait_for

ROOT = Path(__file__).resolve().parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def database_url(settings, host=None, port=None):
    """The test database's address, perhaps by way of another port."""
    user, password = quote(settings["USER"]), quote(settings["PASSWORD"])
    place = f"{host or settings['HOST']}:{port or settings['PORT']}"
    return f"postgresql://{user}:{password}@{place}/{settings['NAME']}"


@contextlib.contextmanager
def running_server(url, **environment):
    """granian as it runs in production, on a port of its own."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws"),
        *("--host", "127.0.0.1", "--port", str(port), "--blocking-threads", "8"),
        "rudderhub.wsgi:application",
    ]
    values = {f"RUDDERHUB_{name}": value for name, value in environment.items()}
    with subprocess.Popen(  # noqa: S603 - our own server
        command,
        cwd=ROOT,
        env={**os.environ, "RUDDERHUB_DATABASE_URL": url, **values},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for(port)
            yield Server(port, process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for(port):
    def listens():
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        return False

    wait_for(listens)


class Gate:
    """A way to Postgres that a test can shut."""

    def __init__(self, host, port):
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = [self._listener]
        self._threads = []
        self._start(self._accept)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._open.append(near)
                far = socket.create_connection(self._target)
                self._open.append(far)
                self._start(_pump, near, far)
                self._start(_pump, far, near)

    def _start(self, target, *args):
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))
        self._threads[-1].start()

    def shut(self):
        """Every socket is closed when this returns: nothing is left to the garbage collector."""
        while any(thread.is_alive() for thread in self._threads):
            for end in list(self._open):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            time.sleep(0.01)
        for end in self._open:
            end.close()


def _pump(source, target):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self):
        return self.body.decode()


@dataclass
class Server:
    port: int
    pid: int

    def send(self, method, path, headers=None, body=None, *, chunked=False, announce=None):
        """One request on a connection of its own; an early answer counts, too."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
            elif announce is not None or body or method in {"POST", "PUT", "PATCH"}:
                connection.putheader("Content-Length", str(announce or len(body or b"")))
            connection.endheaders()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.send(_chunks(body) if chunked else body or b"")
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def raw(self, data):
        """Bytes as they are; what comes back until the server closes, as the last request asks."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            received = b""
            while part := connection.recv(65536):
                received += part
            return received

    def peak_bytes(self):
        """The most memory that the server's processes ever had."""
        return sum(_peak(pid) for pid in [str(self.pid), *_children(self.pid)])


def _children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _peak(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def _chunks(body):
    pieces = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def basic(user, password=""):
    return base64.b64encode(f"{user}:{password}".encode()).decode()


class Case:
    """A case with its placeholders filled in."""

    def __init__(self, case, values):
        self.values = values
        self.expect = case["expect"]
        self.stored = case.get("stored", {})
        self.case = case

    def request(self, case=None):
        case = case or self.case
        form = case["body"]
        options = {}
        if isinstance(form, dict) and "$chunked" in form:
            form, options = form["$chunked"], {"chunked": True}
        elif isinstance(form, dict) and "$announce" in form:
            form, options = None, {"announce": form["$announce"]}
        headers = {name: self.fill(value).decode() for name, value in case["headers"].items()}
        return {
            "method": case["method"],
            "path": self.fill(case["path"]).decode(),
            "headers": headers,
            "body": None if form is None else self.fill(form),
            **options,
        }

    def fill(self, form):
        """The bytes of a form."""
        if isinstance(form, str):
            return re.sub(r"\{\{(\w+)\}\}", lambda found: self.values[found[1]], form).encode()
        if "$base64" in form:
            return base64.b64decode(form["$base64"])
        if "$repeat" in form:
            return self.fill(form["of"]) * form["$repeat"]
        if "$concat" in form:
            return b"".join(map(self.fill, form["$concat"]))
        packed = gzip.compress(self.fill(form["$gzip"]))
        return packed[: len(packed) - form.get("truncate", 0)]

    def faults_of_answer(self, answer):
        """What differs from the expectation; empty when nothing does."""
        expect, text = self.expect, answer.body.decode(errors="replace")
        contains = expect.get("body_contains", [])
        contains = [contains] if isinstance(contains, str) else contains
        checks = {
            "status": self.matches(answer.status, expect["status"]),
            "body_exact": "body_exact" not in expect
            or text.rstrip() == self.filled(expect["body_exact"]).rstrip(),
            "body_contains": all(self.filled(part) in text for part in contains),
            "body_not_contains": not any(
                self.filled(part).lower() in text.lower()
                for part in expect.get("body_not_contains", [])
            ),
            "body_regex": "body_regex" not in expect or bool(re.search(expect["body_regex"], text)),
            "body_base64": "body_base64" not in expect
            or answer.body == base64.b64decode(expect["body_base64"]),
            "body_json_keys": all(
                key in json.loads(text) for key in expect.get("body_json_keys", [])
            ),
            **{
                path: self.matches(member(json.loads(text), path), wanted)
                for path, wanted in expect.get("body_json_paths", {}).items()
            },
            **{
                name: self.matches(answer.headers.get(name, ABSENT), wanted)
                for name, wanted in expect.get("headers", {}).items()
            },
        }
        return [name for name, fits in checks.items() if not fits]

    def faults_of_event(self, event, wanted):
        return [
            name
            for name, value in wanted.items()
            if not self.matches(event.get(name, ABSENT), value, event)
        ]

    def filled(self, text):
        return self.fill(text).decode()

    def matches(self, value, wanted, event=None):
        if isinstance(wanted, str):
            return value == self.filled(wanted)
        if not isinstance(wanted, dict):
            return value == wanted and type(value) is type(wanted)
        if not any(key.startswith("$") for key in wanted):
            return isinstance(value, dict) and not self.faults_of_event(value, wanted)
        matcher, argument = next(iter(wanted.items()))
        return {
            "$regex": lambda: value is not ABSENT and bool(re.search(argument, str(value))),
            "$absent": lambda: value is ABSENT,
            "$one_of": lambda: value in argument,
            "$type": lambda: isinstance(value, _TYPES[argument]),
            "$peer_ip": lambda: value == "127.0.0.1",
            "$received_at_plus_ms": lambda: (
                milliseconds(value) == milliseconds(event["receivedAt"]) + argument
            ),
        }[matcher]()


ABSENT = object()
_TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "number": (int, float)}


def member(value, path):
    parts = path[1:].split("/") if path.startswith("/") else path.split(".")
    for part in parts:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def milliseconds(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)
