"""Web servers as in production, for tests of what goes over the wire."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from rudderhub.env import ROOT
from rudderhub.supervisor.server import free_port
from tests.support.wait import wait_for


def database_url(settings, host=None, port=None):
    """The URL of the test database, or of a relay to it."""
    user, password = quote(settings["USER"]), quote(settings["PASSWORD"])
    place = f"{host or settings['HOST']}:{port or settings['PORT']}"
    return f"postgresql://{user}:{password}@{place}/{settings['NAME']}"


@contextlib.contextmanager
def running_server(url, **environment):
    """Granian with the options of production, on a free port."""
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
    """A relay to Postgres that a test can shut."""

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
        """Close every socket, so that none is left to the garbage collector."""
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
        """Send a request on a connection of its own; returns the answer, which may come early."""
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
        """Send bytes; returns all bytes of the answers until the server closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(data)
            received = b""
            while part := connection.recv(65536):
                received += part
            return received

    def peak_bytes(self):
        """The peak memory of the server's processes, added up."""
        return sum(_peak(pid) for pid in [str(self.pid), *_children(self.pid)])


def _children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _peak(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024


def _chunks(body):
    pieces = [body[start : start + 50_000] for start in range(0, len(body), 50_000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
