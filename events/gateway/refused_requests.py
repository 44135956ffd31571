"""Quarantines a refused request, or single events of a request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rest_framework.request import Request

from events.gateway import quarantine
from events.gateway.quarantine import Refused
from events.gateway.refusals import refusal
from events.gateway.request_body import RequestBody
from events.protocol.event import InvalidEventError
from events.protocol.text import dumps
from sources.client_address import client_address
from sources.refusals import RefusedError

KEPT_UNREAD_BYTES = 65_536
MAX_HEADER_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Refusals:
    """Stores what one request has had refused."""

    source_pk: int
    received_at: datetime
    request: Request
    incoming: RequestBody

    def keep_request(self, refused: RefusedError) -> None:
        """Store the request; raises DatabaseError or InterfaceError if Postgres is away."""
        body, size = self._body()
        circumstances = self._circumstances()
        self.keep([Refused(refused.status_code, refused.line, body, size, circumstances)])

    def keep(self, refused: Sequence[Refused]) -> None:
        quarantine.keep_refused(self.source_pk, self.received_at, self.request.path, refused)

    def invalid_event(
        self, event: Any, error: InvalidEventError, part_of: str, sent_at: Any
    ) -> Refused:
        """One event of the request; part_of is the shape of the request it came in."""
        refused = refusal(error)
        if refused is None:
            raise AssertionError("an invalid event has an answer")
        body = dumps(event).encode()
        circumstances = self._circumstances() | {"part_of": part_of, "sent_at": sent_at}
        return Refused(refused.status_code, refused.line, body, len(body), circumstances)

    def _body(self) -> tuple[bytes, int]:
        """What was read of the body, and the length of the whole; for a GET, the query."""
        if self.request.method == "GET":
            query = query_bytes(self.request)
            return query, len(query)
        self.incoming.keep(KEPT_UNREAD_BYTES)
        return self.incoming.kept, self.incoming.size

    def _circumstances(self) -> dict[str, Any]:
        """What the route reads of the request apart from its body."""
        headers = self.request.META
        return {
            "method": self.request.method,
            "address": client_address(headers),
            "content_type": _storable_header(headers.get("CONTENT_TYPE", "")),
            "destination_id": _storable_header(headers.get("HTTP_X_RUDDER_DESTINATION_ID", "")),
        }


def query_bytes(request: Request) -> bytes:
    query: str = request.META.get("QUERY_STRING", "")
    return query.encode(errors="replace")


def _storable_header(header: str) -> str:
    """A header that a JSON column takes."""
    return header[:MAX_HEADER_CHARACTERS].encode(errors="replace").decode().replace("\0", "")
