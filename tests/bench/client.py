"""A small HTTP load generator: keep-alive connections in one thread, a bounded count."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit


def request_bytes(base_url: str, path: str, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", f"Host: {urlsplit(base_url).netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def send_all(base_url: str, requests: Sequence[bytes], connections: int) -> float:
    """Seconds that all the requests took; every answer has to be 200."""
    parts = urlsplit(base_url)
    waiting = iter(requests)
    selector = selectors.DefaultSelector()
    started = time.perf_counter()
    for _ in range(min(connections, len(requests))):
        sock = socket.create_connection((parts.hostname, parts.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ, bytearray())
        _send_next(selector, sock, waiting)
    while selector.get_map():
        for key, _ in selector.select(timeout=30) or _nothing_came():
            _read(selector, key, waiting)
    return time.perf_counter() - started


def _nothing_came() -> list[tuple[selectors.SelectorKey, int]]:
    raise TimeoutError("no answer within 30 s")


def _read(
    selector: selectors.BaseSelector, key: selectors.SelectorKey, waiting: Iterator[bytes]
) -> None:
    sock, buffer = key.fileobj, key.data
    buffer += sock.recv(65536)
    head, found, body = bytes(buffer).partition(b"\r\n\r\n")
    if not found or len(body) < _content_length(head):
        return
    if b" 200 " not in head[:16]:
        raise RuntimeError(f"expected 200, got {bytes(buffer)!r}")
    buffer.clear()
    _send_next(selector, sock, waiting)


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


def _send_next(
    selector: selectors.BaseSelector, sock: socket.socket, waiting: Iterator[bytes]
) -> None:
    message = next(waiting, None)
    if message is None:
        selector.unregister(sock)
        sock.close()
    else:
        sock.sendall(message)
