from __future__ import annotations

import gzip
import io

import pytest

from events.gateway.refusals import BodyTooLargeError
from events.gateway.request_body import RequestBody
from events.protocol.event import InvalidRequestError


class Counting(io.BytesIO):
    """A stream that knows how much was read of it."""

    taken = 0

    def read(self, size=-1, /):
        part = super().read(size)
        self.taken += len(part)
        return part


def incoming(content, *, chunked=False, encoding="", length=None):
    stream = Counting(content)
    environ = {"wsgi.input": stream, "HTTP_CONTENT_ENCODING": encoding}
    if chunked:
        environ["HTTP_TRANSFER_ENCODING"] = "chunked"
    else:
        environ["CONTENT_LENGTH"] = str(len(content) if length is None else length)
    return RequestBody(environ), stream


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_at_the_limit_is_read_whole(chunked):
    body, _ = incoming(b"x" * 100_000, chunked=chunked)

    assert body.read(100_000) == b"x" * 100_000


def test_an_announced_body_over_the_limit_is_not_read():
    body, stream = incoming(b"", length=101)

    with pytest.raises(BodyTooLargeError, match="request size exceeds max limit of 100 bytes"):
        body.read(100)
    assert stream.taken == 0
    assert (body.content, body.size, body.has_unread_bytes) == (b"", 101, True)


def test_a_chunked_body_is_read_little_beyond_the_limit():
    body, stream = incoming(b"x" * 1_000_000, chunked=True)

    with pytest.raises(BodyTooLargeError):
        body.read(100_000)
    assert stream.taken < 200_000


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("encoding", ["gzip", " GZip "])
def test_gzip_members_are_inflated_one_after_another(encoding, chunked):
    packed = gzip.compress(b"a" * 200_000) + gzip.compress(b"") + gzip.compress(b"b")
    body, _ = incoming(packed, encoding=encoding, chunked=chunked)

    assert body.read(200_001) == b"a" * 200_000 + b"b"


def test_inflating_stops_at_the_limit():
    body, stream = incoming(gzip.compress(b"x" * 50_000_000), encoding="gzip")

    with pytest.raises(BodyTooLargeError):
        body.read(100_000)
    assert (len(body.content), body.size) == (65_536, 131_072)
    assert stream.taken <= 65_536


def test_the_number_of_empty_gzip_members_is_limited():
    body, stream = incoming(gzip.compress(b"") * 50_000, encoding="gzip", chunked=True)

    with pytest.raises(BodyTooLargeError):
        body.read(100_000)
    assert stream.taken < 300_000


PACKED = gzip.compress(b'{"userId":"u"}', mtime=0)


@pytest.mark.parametrize(
    "content", [b"", b"{}", PACKED[:-1], PACKED[:5], PACKED + b"garbage", PACKED + PACKED[:5]]
)
def test_broken_gzip_is_refused(content):
    body, _ = incoming(content, encoding="gzip")

    with pytest.raises(InvalidRequestError, match="failed to read body from request"):
        body.read(100_000)


def test_other_codings_are_ignored():
    body, _ = incoming(b"{}", encoding="br")

    assert body.json(100) == {}


def test_a_second_read_keeps_the_limit():
    body, _ = incoming(b"x" * 100)
    body.read(100)

    with pytest.raises(BodyTooLargeError):
        body.read(99)
