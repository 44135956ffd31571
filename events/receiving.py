"""What all gateway views share: DRF's APIView with nothing on the way that events do not need.

The order of the checks is part of the contract: key, source, origin, rate limit, then the body.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, cast

from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.views import APIView

from events import disk, gateway, quarantine, requests
from events.errors import origin_not_allowed, refusal
from events.parsers import READ_BYTES, RequestBody
from events.quarantine import Refused
from events.spec import BATCH_TYPES, Envelope, InvalidEventError, ParsedEvent, parse_batch
from events.text import dumps
from events.throttling import SourceThrottle
from sources.addresses import client_address
from sources.authentication import WriteKeyAuthentication
from sources.errors import (
    TEXT,
    RefusedError,
    line,
    source_disabled,
    too_many_requests,
    unavailable,
)
from sources.snapshot import SourceInfo, origin_text

logger = logging.getLogger(__name__)

KEPT = frozenset({400, 413})
DRAINED_BYTES = 8_000_000
KEPT_UNREAD_BYTES = 65_536
DISK_SECONDS = 60
"""When to come again: no disk is emptied sooner."""

_drains = threading.BoundedSemaphore(4)


def ok() -> HttpResponse:
    return HttpResponse(b"OK", content_type=TEXT)


class GatewayRequest(Request):
    """A request whose body is read as bytes, whatever its label."""

    incoming: RequestBody
    auth: SourceInfo


class GatewayView(APIView):
    """Authenticates, judges the source, and answers every fault with one line."""

    authentication_classes = [WriteKeyAuthentication]
    throttle_classes = [SourceThrottle]
    source: SourceInfo | None = None
    received_at: datetime
    arrived_at: datetime | None = None
    """Of a request that is sent again: when it came first."""
    keeps_refused = True
    part_of = ""
    """How an event that is quarantined alone becomes a request of its route again."""
    sent_at: Any = None

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """APIView's way without content negotiation: requests and answers have one form."""
        self.received_at = timezone.now()
        wrapped = GatewayRequest(request, authenticators=self.get_authenticators())
        wrapped.incoming = RequestBody(request.META)
        self.request = wrapped
        try:
            self.initial(wrapped)
            response = cast("HttpResponse", getattr(self, str(request.method).lower())(wrapped))
            self._keep_accepted(wrapped)
        except Exception as error:  # noqa: BLE001 - the edge of a request
            response = self.handle_exception(error)
        if wrapped.incoming.is_left:
            response._resource_closers.append(partial(_drain, wrapped.incoming))  # type: ignore[attr-defined]  # noqa: SLF001
        return response

    def _keep_accepted(self, request: GatewayRequest) -> None:
        """For the trace of its events; not of what is sent again from the quarantine."""
        if self.source is not None and self.arrived_at is None:
            meta, body = request.META, request.incoming.kept
            requests.keep(self.source.pk, self.received_at, meta, body)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.perform_authentication(request)
        self.source = cast("SourceInfo", request.auth)
        self.check_source(self.source, request)
        self.check_throttles(request)
        if disk.shortage():
            raise unavailable(DISK_SECONDS)

    def check_source(self, source: SourceInfo, request: Request) -> None:
        if not source.enabled:
            raise source_disabled()
        origin = request.META.get("HTTP_ORIGIN")
        if origin and source.allowed_origins and origin_text(origin) not in source.allowed_origins:
            raise origin_not_allowed()

    def throttled(self, request: Request, wait: float | None) -> None:  # type: ignore[override]
        raise too_many_requests(int(wait or 1))

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        refused = refusal(exc)
        if refused is None:
            refused = _our_fault(exc)
        elif (
            refused.status_code in KEPT
            and self.keeps_refused
            and self.source is not None
            and self.source.enabled
        ):
            refused = self.keep_refused(refused)
        return self.refuse(refused)

    def refuse(self, refused: RefusedError) -> HttpResponse:
        return line(refused)

    def keep_refused(self, refused: RefusedError) -> RefusedError:
        """Nothing is refused for good before it is kept; if it cannot be, the sender returns."""
        body, size = self.refused_body()
        try:
            came = self.circumstances()
            self.quarantine([Refused(refused.status_code, refused.line, body, size, came)])
        except (DatabaseError, InterfaceError) as error:
            return _our_fault(error)
        return refused

    def refused_body(self) -> tuple[bytes, int]:
        """As much of the body as was read, and the length of the whole."""
        body = cast("GatewayRequest", self.request).incoming
        body.keep(KEPT_UNREAD_BYTES)
        return body.kept, body.size

    def quarantine(self, refused: Sequence[Refused]) -> None:
        if self.source is None:
            raise AssertionError("only what a known source sends is kept")
        quarantine.keep(self.source.pk, self.received_at, self.request.path, refused)

    def refused_event(self, event: Any, error: InvalidEventError) -> Refused:
        refused = refusal(error)
        if refused is None:
            raise AssertionError("an invalid event has an answer")
        body = dumps(event).encode()
        came = self.circumstances() | {"part_of": self.part_of, "sent_at": self.sent_at}
        return Refused(refused.status_code, refused.line, body, len(body), came)

    def circumstances(self) -> dict[str, Any]:
        """How the request came, beside its body: what its route looks at."""
        headers = self.request.META
        return {
            "method": self.request.method,
            "address": client_address(headers),
            "content_type": _plain(headers.get("CONTENT_TYPE", "")),
            "destination_id": _plain(headers.get("HTTP_X_RUDDER_DESTINATION_ID", "")),
        }

    @property
    def first_received_at(self) -> datetime:
        return self.arrived_at or self.received_at

    def envelope(self, request: GatewayRequest, size: int, **differences: Any) -> Envelope:
        """What the events of this request share; size is that of all of them together."""
        limit = request.auth.max_event_bytes
        return Envelope(
            received_at=self.first_received_at,
            request_ip=client_address(request.META),
            new_id=new_id,
            max_event_bytes=limit if size > limit else None,
            **differences,
        )

    def accept_one(self, event: Any, parse: Callable[[Any], ParsedEvent]) -> None:
        source = cast("SourceInfo", self.source)
        try:
            parsed = [parse(event)]
        except InvalidEventError as error:
            if not source.quarantines:
                raise
            self.quarantine([self.refused_event(event, error)])
            return
        gateway.accept(source.pk, self.received_at, parsed)

    def check_one(self, event: Any, parse: Callable[[Any], ParsedEvent]) -> None:
        """The answer that accept_one would have; nothing is stored."""
        try:
            parse(event)
        except InvalidEventError:
            if not cast("SourceInfo", self.source).quarantines:
                raise

    def accept_all(self, events: Sequence[Any], parse: Callable[[Any], ParsedEvent]) -> None:
        """All or none; where the source says so, the good ones, and the bad ones are kept."""
        source = cast("SourceInfo", self.source)
        refused: list[Refused] = []

        def keep_invalid(event: Any, error: InvalidEventError) -> None:
            refused.append(self.refused_event(event, error))

        parsed = parse_batch(events, parse, keep_invalid if source.quarantines else None)
        if refused:
            self.quarantine(refused)
        gateway.accept(source.pk, self.received_at, parsed)


def _plain(header: str) -> str:
    """A header that a JSON column takes."""
    return header[:1000].encode(errors="replace").decode().replace("\0", "")


def new_id() -> str:
    return str(uuid.uuid4())


def batch_envelope(
    view: GatewayView, request: GatewayRequest, body: Any, **differences: Any
) -> Envelope:
    sent_at = body.get("sentAt") if isinstance(body, dict) else None
    view.sent_at = sent_at
    options = {"types": BATCH_TYPES, "sent_at": sent_at} | differences
    return view.envelope(request, len(request.incoming.kept), **options)


def _our_fault(error: Exception) -> RefusedError:
    if isinstance(error, DatabaseError | InterfaceError):
        logger.warning("Postgres failed a request: %s", type(error).__name__)
    else:
        logger.error("a request failed", exc_info=error)
    return unavailable()


def _drain(body: RequestBody) -> None:
    """Read on after the answer: closing with unread bytes could cost the sender the answer."""
    if _drains.acquire(blocking=False):
        try:
            left = DRAINED_BYTES
            while left > 0 and (part := body.stream.read(READ_BYTES)):
                left -= len(part)
        finally:
            _drains.release()
