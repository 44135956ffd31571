"""Servers that take connections and send nothing, in place of the servers of others."""

from __future__ import annotations

import socketserver
import threading
from contextlib import contextmanager, suppress


@contextmanager
def hanging_up_on_all(clients):
    """The port of a server that hangs up once this number of clients wait for it together.

    A client that sends nothing, since it only tests whether somebody listens, does not count.
    """
    together = threading.Barrier(clients)

    class Client(socketserver.BaseRequestHandler):
        def handle(self):
            with suppress(threading.BrokenBarrierError, ConnectionError):
                if self.request.recv(1024):
                    together.wait()

    with _serving(Client) as port:
        try:
            yield port
        finally:
            together.abort()


@contextmanager
def hanging_up():
    """The port of a server that hangs up on every client at once, and the list of the clients."""
    clients = []

    class Client(socketserver.BaseRequestHandler):
        def handle(self):
            clients.append(self.client_address)

    with _serving(Client) as port:
        yield port, clients


@contextmanager
def _serving(handler):
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
