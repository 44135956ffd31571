"""A proxy between an SDK and the server, which passes all on as it is and keeps what was sent."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

TYPES = {"i": "identify", "t": "track", "p": "page", "s": "screen", "g": "group", "a": "alias"}
BATCHES = {"/v1/batch", "/v1/b", "/beacon/v1/batch"}
CALLS = {f"/v1/{key}": name for key, name in TYPES.items()} | {
    f"/v1/{name}": name for name in TYPES.values()
}


@dataclass(frozen=True)
class Exchange:
    method: str
    target: str
    body: bytes
    status: int

    @property
    def path(self):
        return urlsplit(self.target).path

    def messages(self):
        """The events in it, each with its type."""
        if self.method != "POST":
            return []
        if self.path in BATCHES:
            return json.loads(self.body)["batch"]
        kind = CALLS.get(self.path)
        return [json.loads(self.body) | {"type": kind}] if kind else []


class Recorder:
    def __init__(self, target_url):
        self.exchanges = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(target_url, self.exchanges))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def messages(self):
        """Every event that the server has accepted, once: an SDK may send one again."""
        accepted = [exchange for exchange in self.exchanges if exchange.status == 200]
        found = {m["messageId"]: m for exchange in accepted for m in exchange.messages()}
        return list(found.values())

    def failures(self):
        return [exchange for exchange in self.exchanges if exchange.status >= 400]

    def queries(self, path):
        """The parameters of each request for a path."""
        found = [exchange for exchange in self.exchanges if exchange.path == path]
        return [dict(parse_qsl(urlsplit(exchange.target).query)) for exchange in found]


def _handler(target_url, exchanges):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            upstream = http.client.HTTPConnection(urlsplit(target_url).netloc, timeout=30)
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            upstream.close()
            plain = gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
            exchanges.append(Exchange(self.command, self.path, plain, answer.status))
            self._answer(answer, content)

        do_POST = do_HEAD = do_OPTIONS = do_GET  # noqa: N815

        def _answer(self, answer, content):
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(name, value)
            if answer.status not in {204, 304}:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            """Says nothing: the exchanges are kept."""

    return Handler
