"""Reading request bodies, whatever their label: never more than the limit, inflated as asked."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from events.decode import loads
from events.errors import BodyTooLargeError
from events.spec import InvalidRequestError

READ_BYTES = 65_536
SAMPLE_BYTES = 65_536
"""What is kept of a body over its limit: enough to see whose it is, too little to repair."""
_NOT_DECODED = object()
_GZIP_WINDOW = 31  # zlib: 15 bits of window, and a gzip header


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class RequestBody:
    """The body of one request, read at most once.

    kept is what has been read of it so far, inflated: what the quarantine keeps of a refusal.
    Of a body over the limit it is the beginning only.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.stream: Stream = environ["wsgi.input"]
        self.announced = announced_length(environ)
        self.gzipped = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() == "gzip"
        self.kept = b""
        self._read_bytes = 0
        self._begun = False
        self._complete = False
        self._value: Any = _NOT_DECODED

    def read(self, max_bytes: int) -> bytes:
        """The whole body; BodyTooLargeError as soon as it is known to be over the limit."""
        if self._complete:
            self._check(max_bytes)
            return self.kept
        if self.announced is not None and not self.gzipped and self.announced > max_bytes:
            raise BodyTooLargeError(max_bytes)
        self._begun = True
        if self.announced is not None and not self.gzipped:
            self.kept = self._read_announced(self.announced)
            self._read_bytes = len(self.kept)
        else:
            self._gather(
                self._inflated_parts(max_bytes) if self.gzipped else self._parts(), max_bytes
            )
        self._complete = True
        return self.kept

    def json(self, max_bytes: int) -> Any:
        """The JSON value of the body, decoded at most once."""
        body = self.read(max_bytes)
        if self._value is _NOT_DECODED:
            self._value = loads(body)
        return self._value

    def keep(self, max_bytes: int) -> None:
        """Read a body that was refused unread, if it is a small one."""
        if not self._begun and (self.announced or 0) <= max_bytes:
            with contextlib.suppress(InvalidRequestError):
                self.read(max_bytes)

    @property
    def is_left(self) -> bool:
        """Whether bytes may still be on their way."""
        return not self._complete and self.announced != 0

    @property
    def size(self) -> int:
        """The length of the body, as far as it is known."""
        return max(self._read_bytes, 0 if self.gzipped else self.announced or 0)

    def _read_announced(self, length: int) -> bytes:
        if not length:
            return b""
        part = self.stream.read(length)
        if len(part) == length:
            return part
        return b"".join([part, *self._parts(length - len(part))]) if part else b""

    def _parts(self, length: int | None = None) -> Iterator[bytes]:
        """The raw body piece by piece, to its announced or its real end."""
        left = self.announced if length is None else length
        while left is None or left > 0:
            part = self.stream.read(READ_BYTES if left is None else min(READ_BYTES, left))
            if not part:
                return
            if left is not None:
                left -= len(part)
            yield part

    def _inflated_parts(self, max_bytes: int) -> Iterator[bytes]:
        """Also the compressed bytes have a limit: a stream of empty members inflates to nothing."""
        return _inflated(_limited(self._parts(), max_bytes, max_bytes + READ_BYTES))

    def _gather(self, parts: Iterator[bytes], max_bytes: int) -> None:
        gathered = bytearray()
        try:
            for part in parts:
                gathered += part
                self._read_bytes = len(gathered)
                if self._read_bytes > max_bytes:
                    del gathered[SAMPLE_BYTES:]
                    raise BodyTooLargeError(max_bytes)
        finally:
            self.kept = bytes(gathered)

    def _check(self, max_bytes: int) -> None:
        if len(self.kept) > max_bytes:
            self.kept = self.kept[:SAMPLE_BYTES]
            raise BodyTooLargeError(max_bytes)


def announced_length(environ: Mapping[str, Any]) -> int | None:
    """Content-Length; 0 when a body is neither announced nor chunked; None for a chunked one."""
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


def _limited(parts: Iterator[bytes], max_bytes: int, most: int) -> Iterator[bytes]:
    left = most
    for part in parts:
        left -= len(part)
        if left < 0:
            raise BodyTooLargeError(max_bytes)
        yield part


def _inflated(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The content of gzip members one after another, at most READ_BYTES at a time."""
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    for part in parts:
        data = part
        while True:
            if inflater.eof:
                inflater = zlib.decompressobj(_GZIP_WINDOW)
            try:
                piece = inflater.decompress(data, READ_BYTES)
            except zlib.error as error:
                raise _broken_body() from error
            yield piece
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if not data and (inflater.eof or len(piece) < READ_BYTES):
                break
    if not inflater.eof:
        raise _broken_body()


def _broken_body() -> InvalidRequestError:
    return InvalidRequestError("failed to read body from request")
