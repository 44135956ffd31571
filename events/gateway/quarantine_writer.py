"""Puts a refused request, or single events of a request, into the quarantine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from events.gateway import quarantine
from events.gateway.quarantine import QuarantineEntry
from events.gateway.refusals import refusal
from events.gateway.request_body import GatewayRequest
from events.protocol.event import InvalidEventError
from events.protocol.text import dumps
from sources.client_address import client_address
from sources.refusals import RefusedError

KEPT_UNREAD_BYTES = 65_536
MAX_HEADER_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class QuarantineWriter:
    """Stores a refused request, or the refused events of an accepted one."""

    source_pk: int
    received_at: datetime
    request: GatewayRequest

    def keep_request(self, refused: RefusedError) -> None:
        """Store the request; raises DatabaseError or InterfaceError if Postgres is away."""
        content, size = self._read_content()
        self.keep([self._entry(refused, content, size)])

    def keep(self, entries: Sequence[QuarantineEntry]) -> None:
        quarantine.keep_entries(self.source_pk, self.received_at, self.request.path, entries)

    def event_entry(
        self, event: Any, error: InvalidEventError, part_of: str, sent_at: Any
    ) -> QuarantineEntry:
        """The entry of one invalid event; part_of is the shape of its request."""
        refused = refusal(error)
        if refused is None:
            raise AssertionError("an invalid event has an answer")
        content = dumps(event).encode()
        return self._entry(refused, content, len(content), part_of=part_of, sent_at=sent_at)

    def _read_content(self) -> tuple[bytes, int]:
        """The body as far as it is read, and the length of all of it; for a GET, the query."""
        if self.request.method == "GET":
            return self.request.query, len(self.request.query)
        body = self.request.raw_body
        body.read_small(KEPT_UNREAD_BYTES)
        return body.content, body.size

    def _entry(
        self, refused: RefusedError, content: bytes, size: int, **shape: Any
    ) -> QuarantineEntry:
        """The entry with the circumstances that the route reads apart from the body."""
        headers = self.request.META
        circumstances = {
            "method": self.request.method,
            "address": client_address(headers),
            "content_type": _storable_header(headers.get("CONTENT_TYPE", "")),
            "destination_id": _storable_header(headers.get("HTTP_X_RUDDER_DESTINATION_ID", "")),
            **shape,
        }
        return QuarantineEntry(refused.status_code, refused.line, content, size, circumstances)


def _storable_header(header: str) -> str:
    """The header, shortened and without characters that a JSON column refuses."""
    return header[:MAX_HEADER_CHARACTERS].encode(errors="replace").decode().replace("\0", "")
