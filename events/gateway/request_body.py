"""Reads request bodies up to a limit and decompresses gzip, whatever their content type."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from rest_framework.request import Request

from events.gateway.refusals import BodyTooLargeError
from events.protocol.event import InvalidRequestError
from events.protocol.json_body import loads
from sources.snapshot import SourceInfo

READ_BYTES = 65_536
SAMPLE_BYTES = 65_536
"""Bytes that are kept of a body over its limit, enough to identify its sender."""
_NOT_DECODED = object()
_GZIP_WINDOW = 31  # zlib: 15 bits of window, and a gzip header


class Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


class RequestBody:
    """The body of one request, read at most once.

    content is the body as far as it has been read, decompressed; of a body over the limit, the
    first SAMPLE_BYTES. The quarantine stores it.
    """

    def __init__(self, environ: Mapping[str, Any]) -> None:
        self.stream: Stream = environ["wsgi.input"]
        self.announced_bytes = announced_length(environ)
        self.gzipped = environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() == "gzip"
        self.content = b""
        self._read_bytes = 0
        self._is_started = False
        self._is_complete = False
        self._value: Any = _NOT_DECODED

    def read(self, max_bytes: int) -> bytes:
        """The whole body; raises BodyTooLargeError as soon as it exceeds the limit."""
        if self._is_complete:
            if len(self.content) > max_bytes:
                self.content = self.content[:SAMPLE_BYTES]
                raise BodyTooLargeError(max_bytes)
            return self.content
        length = None if self.gzipped else self.announced_bytes
        if length is not None and length > max_bytes:
            raise BodyTooLargeError(max_bytes)
        self._is_started = True
        if length is not None:
            self.content = self._read_announced(length)
            self._read_bytes = len(self.content)
        else:
            parts = self._raw_parts()
            if self.gzipped:
                parts = _gunzipped_parts(_limited_parts(parts, max_bytes))
            self._read_parts(parts, max_bytes)
        self._is_complete = True
        return self.content

    def json(self, max_bytes: int) -> Any:
        """The JSON value of the body, decoded at most once."""
        body = self.read(max_bytes)
        if self._value is _NOT_DECODED:
            self._value = loads(body)
        return self._value

    def read_small(self, max_bytes: int) -> None:
        """Read a body of at most max_bytes that nothing has read yet."""
        if not self._is_started and (self.announced_bytes or 0) <= max_bytes:
            with contextlib.suppress(InvalidRequestError):
                self.read(max_bytes)

    @property
    def has_unread_bytes(self) -> bool:
        """Whether the sender may still be sending the body."""
        return not self._is_complete and self.announced_bytes != 0

    @property
    def size(self) -> int:
        """The length of the body in bytes, as far as it is known."""
        return max(self._read_bytes, 0 if self.gzipped else self.announced_bytes or 0)

    def _read_announced(self, length: int) -> bytes:
        if not length:
            return b""
        part = self.stream.read(length)
        if len(part) == length:
            return part
        return b"".join([part, *self._raw_parts(length - len(part))]) if part else b""

    def _raw_parts(self, length: int | None = None) -> Iterator[bytes]:
        """The pieces of the raw body, up to its announced length or its end."""
        remaining = self.announced_bytes if length is None else length
        while remaining is None or remaining > 0:
            part = self.stream.read(READ_BYTES if remaining is None else min(READ_BYTES, remaining))
            if not part:
                return
            if remaining is not None:
                remaining -= len(part)
            yield part

    def _read_parts(self, parts: Iterator[bytes], max_bytes: int) -> None:
        content = bytearray()
        try:
            for part in parts:
                content += part
                self._read_bytes = len(content)
                if self._read_bytes > max_bytes:
                    del content[SAMPLE_BYTES:]
                    raise BodyTooLargeError(max_bytes)
        finally:
            self.content = bytes(content)


class GatewayRequest(Request):
    """A request with a body of bytes, which no parser of DRF reads."""

    raw_body: RequestBody
    auth: SourceInfo

    @property
    def query(self) -> bytes:
        query: str = self.META.get("QUERY_STRING", "")
        return query.encode(errors="replace")


def announced_length(environ: Mapping[str, Any]) -> int | None:
    """The Content-Length in bytes; 0 without one; None for a chunked body."""
    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isascii() and text.isdigit() else 0


def _limited_parts(parts: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """The compressed parts, which have a limit as well, since empty gzip members give no bytes."""
    remaining = max_bytes + READ_BYTES
    for part in parts:
        remaining -= len(part)
        if remaining < 0:
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
