"""Reads request bodies up to a limit and decompresses gzip, whatever their content type."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from events.gateway.refusals import BodyTooLargeError
from events.protocol.event import InvalidRequestError
from events.protocol.json_body import loads

READ_BYTES = 65_536
SAMPLE_BYTES = 65_536
"""Bytes that are kept of a body over its limit: enough to find its sender by."""
_NOT_DECODED = object()
_GZIP_WINDOW = 31  # zlib: 15 bits of window, and a gzip header


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class RequestBody:
    """The body of one request, read at most once.

    kept holds what has been read so far, decompressed: the quarantine stores it. For a body over
    the limit it is the first SAMPLE_BYTES.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.stream: Stream = environ["wsgi.input"]
        self.announced = announced_length(environ)
        self.gzipped = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() == "gzip"
        self.kept = b""
        self._read_bytes = 0
        self._started = False
        self._complete = False
        self._value: Any = _NOT_DECODED

    def read(self, max_bytes: int) -> bytes:
        """The whole body; raises BodyTooLargeError as soon as it exceeds the limit."""
        if self._complete:
            self._check_kept(max_bytes)
            return self.kept
        if self.announced is not None and not self.gzipped and self.announced > max_bytes:
            raise BodyTooLargeError(max_bytes)
        self._started = True
        if self.announced is not None and not self.gzipped:
            self.kept = self._read_announced(self.announced)
            self._read_bytes = len(self.kept)
        else:
            self._read_parts(
                self._decompressed_parts(max_bytes) if self.gzipped else self._parts(), max_bytes
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
        """Read the body of a request that was refused unread, if it is small enough."""
        if not self._started and (self.announced or 0) <= max_bytes:
            with contextlib.suppress(InvalidRequestError):
                self.read(max_bytes)

    @property
    def has_unread_bytes(self) -> bool:
        """Whether the sender may still be sending."""
        return not self._complete and self.announced != 0

    @property
    def size(self) -> int:
        """The length of the body in bytes, as far as it is known."""
        return max(self._read_bytes, 0 if self.gzipped else self.announced or 0)

    def _read_announced(self, length: int) -> bytes:
        if not length:
            return b""
        part = self.stream.read(length)
        if len(part) == length:
            return part
        return b"".join([part, *self._parts(length - len(part))]) if part else b""

    def _parts(self, length: int | None = None) -> Iterator[bytes]:
        """The pieces of the raw body, up to its announced length or its end."""
        left = self.announced if length is None else length
        while left is None or left > 0:
            part = self.stream.read(READ_BYTES if left is None else min(READ_BYTES, left))
            if not part:
                return
            if left is not None:
                left -= len(part)
            yield part

    def _decompressed_parts(self, max_bytes: int) -> Iterator[bytes]:
        """The decompressed pieces. The raw ones have a limit too: empty members give no bytes."""
        return _gunzipped_parts(_limited_parts(self._parts(), max_bytes, max_bytes + READ_BYTES))

    def _read_parts(self, parts: Iterator[bytes], max_bytes: int) -> None:
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

    def _check_kept(self, max_bytes: int) -> None:
        if len(self.kept) > max_bytes:
            self.kept = self.kept[:SAMPLE_BYTES]
            raise BodyTooLargeError(max_bytes)


def announced_length(environ: Mapping[str, Any]) -> int | None:
    """The Content-Length in bytes; 0 without one; None for a chunked body."""
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


def _limited_parts(parts: Iterator[bytes], max_bytes: int, raw_bytes: int) -> Iterator[bytes]:
    """The parts; raises BodyTooLargeError(max_bytes) after raw_bytes."""
    left = raw_bytes
    for part in parts:
        left -= len(part)
        if left < 0:
            raise BodyTooLargeError(max_bytes)
        yield part


def _gunzipped_parts(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The content of all gzip members, in pieces of at most READ_BYTES."""
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    for part in parts:
        data = part
        while True:
            if decompressor.eof:
                decompressor = zlib.decompressobj(_GZIP_WINDOW)
            try:
                piece = decompressor.decompress(data, READ_BYTES)
            except zlib.error as error:
                raise _broken_body() from error
            yield piece
            data = decompressor.unused_data if decompressor.eof else decompressor.unconsumed_tail
            if not data and (decompressor.eof or len(piece) < READ_BYTES):
                break
    if not decompressor.eof:
        raise _broken_body()


def _broken_body() -> InvalidRequestError:
    return InvalidRequestError("failed to read body from request")
