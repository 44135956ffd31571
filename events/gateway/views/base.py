"""The base of all gateway views: DRF's APIView without the steps that events do not need.

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

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.views import APIView

from events.gateway import disk_space, recent_requests
from events.gateway.quarantine import QuarantineEntry
from events.gateway.quarantine_writer import QuarantineWriter
from events.gateway.refusals import ORIGIN_NOT_ALLOWED, refusal
from events.gateway.request_body import READ_BYTES, GatewayRequest, RequestBody
from events.log import writer
from events.protocol.event import BATCH_TYPES, Envelope, InvalidEventError, ParsedEvent, parse_batch
from events.workers import queue
from sources import rate_limits
from sources.authentication import WriteKeyAuthentication
from sources.client_address import client_address
from sources.refusals import (
    SOURCE_DISABLED,
    TEXT,
    RefusedError,
    refusal_response,
    too_many_requests,
    unavailable,
)
from sources.snapshot import SourceInfo, normalised_origin

logger = logging.getLogger(__name__)

QUARANTINED_STATUSES = frozenset({400, 413})
DRAINED_BYTES = 8_000_000
DISK_RETRY_SECONDS = 60
"""The Retry-After while the disk is full, which takes an operator some time to change."""

_drains = threading.BoundedSemaphore(4)


def ok_response() -> HttpResponse:
    return HttpResponse(b"OK", content_type=TEXT)


class GatewayView(APIView):
    """Authenticates, checks the source, and answers every error with one line of text."""

    authentication_classes = [WriteKeyAuthentication]
    source: SourceInfo | None = None
    received_at: datetime
    first_received_at: datetime | None = None
    """The first arrival of a request that is sent again from the quarantine."""
    is_rate_limited = True
    quarantines_refused = True
    removed_members: tuple[str, ...] = ()
    """Members of the event that are not stored."""
    part_of = ""
    """The shape of request in which a quarantined event is sent again."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Answer as APIView does, without content negotiation."""
        self.received_at = timezone.now()
        wrapped = GatewayRequest(request, authenticators=self.get_authenticators())
        wrapped.raw_body = RequestBody(request.META)
        self.request = wrapped
        try:
            self.initial(wrapped)
            response = cast("HttpResponse", getattr(self, str(request.method).lower())(wrapped))
            if self.source is not None and self.first_received_at is None:
                recent_requests.keep_request(
                    self.source.pk, self.received_at, request.META, wrapped.raw_body.content
                )
        except Exception as error:  # noqa: BLE001 - the edge of a request
            response = self.handle_exception(error)
        if wrapped.raw_body.has_unread_bytes:
            response._resource_closers.append(partial(_drain_body, wrapped.raw_body))  # type: ignore[attr-defined]  # noqa: SLF001
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.perform_authentication(request)
        self.source = cast("SourceInfo", request.auth)
        self.check_source(self.source, request)
        self.check_rate_limit(self.source)
        if disk_space.shortage():
            raise unavailable(DISK_RETRY_SECONDS)

    def check_source(self, source: SourceInfo, request: Request) -> None:
        if not source.enabled:
            raise RefusedError(*SOURCE_DISABLED)
        origin = request.META.get("HTTP_ORIGIN")
        allowed = source.allowed_origins
        if origin and allowed and normalised_origin(origin) not in allowed:
            raise RefusedError(*ORIGIN_NOT_ALLOWED)

    def check_rate_limit(self, source: SourceInfo) -> None:
        """Count the request, over all keys of the source and all web processes."""
        limit, window_seconds = source.rate_limit_requests, source.rate_limit_window_seconds
        if self.is_rate_limited and limit is not None:
            wait = rate_limits.seconds_to_wait("events", str(source.pk), limit, window_seconds)
            if wait:
                raise too_many_requests(wait)

    def handle_exception(self, exc: Exception) -> HttpResponse:  # type: ignore[override]
        refused = refusal(exc)
        if refused is None:
            refused = _server_fault(exc)
        elif self.is_quarantined(refused):
            try:
                self.quarantine_writer.keep_request(refused)
            except (DatabaseError, InterfaceError) as error:
                # A request that could not be kept is not refused for good: the sender retries.
                refused = _server_fault(error)
        return self.refused_response(refused)

    def is_quarantined(self, refused: RefusedError) -> bool:
        """Whether the refused request is kept before it is answered."""
        return (
            refused.status_code in QUARANTINED_STATUSES
            and self.quarantines_refused
            and self.source is not None
            and self.source.enabled
        )

    def accepted_response(self) -> HttpResponse:
        return ok_response()

    def refused_response(self, refused: RefusedError) -> HttpResponse:
        return refusal_response(refused)

    @property
    def quarantine_writer(self) -> QuarantineWriter:
        source, request = cast("SourceInfo", self.source), cast("GatewayRequest", self.request)
        return QuarantineWriter(source.pk, self.received_at, request)

    def envelope(self, request: GatewayRequest, size: int, **options: Any) -> Envelope:
        """The values that the events of this request share; size is the bytes of all its events."""
        limit = request.auth.max_event_bytes
        return Envelope(
            received_at=self.first_received_at or self.received_at,
            request_ip=client_address(request.META),
            new_id=new_id,
            max_event_bytes=limit if size > limit else None,
            removed_members=self.removed_members,
            **options,
        )

    def batch_envelope(self, request: GatewayRequest, body: Any, **options: Any) -> Envelope:
        """The envelope of a batch, with the sentAt of its body."""
        sent_at = body.get("sentAt") if isinstance(body, dict) else None
        options = {"types": BATCH_TYPES, "sent_at": sent_at} | options
        return self.envelope(request, len(request.raw_body.content), **options)

    def accept_one(self, event: Any, parse: Callable[[Any], ParsedEvent]) -> None:
        """Store the event; an invalid one goes to the quarantine if the source quarantines."""
        source = cast("SourceInfo", self.source)
        try:
            self._store_events([parse(event)])
        except InvalidEventError as error:
            if not source.quarantines:
                raise
            quarantine = self.quarantine_writer
            quarantine.keep([quarantine.event_entry(event, error, self.part_of, None)])

    def accept_all(
        self,
        events: Sequence[Any],
        parse: Callable[[Any], ParsedEvent],
        sent_at: Any,
        part_of: str = "batch",
    ) -> None:
        """Store all events or none; invalid ones go to the quarantine if the source quarantines."""
        source = cast("SourceInfo", self.source)
        entries: list[QuarantineEntry] = []

        def keep_invalid(event: Any, error: InvalidEventError) -> None:
            entries.append(self.quarantine_writer.event_entry(event, error, part_of, sent_at))

        parsed = parse_batch(events, parse, keep_invalid if source.quarantines else None)
        if entries:
            self.quarantine_writer.keep(entries)
        self._store_events(parsed)

    def _store_events(self, events: Sequence[ParsedEvent]) -> None:
        """Return when the events are committed; raises LogUnavailableError if they may not be."""
        if events:
            source_pk = cast("SourceInfo", self.source).pk
            writer.append(source_pk, self.received_at, events, settings.COMMIT_TIMEOUT_SECONDS)
            queue.enqueue_loads(source_pk)


def new_id() -> str:
    return str(uuid.uuid4())


def _server_fault(error: Exception) -> RefusedError:
    if isinstance(error, DatabaseError | InterfaceError):
        logger.warning("Postgres failed a request: %s", type(error).__name__)
    else:
        logger.error("a request failed", exc_info=error)
    return unavailable()


def _drain_body(body: RequestBody) -> None:
    """Read the rest after the answer, because closing with unread bytes could lose the answer."""
    if _drains.acquire(blocking=False):
        try:
            remaining = DRAINED_BYTES
            while remaining > 0 and (part := body.stream.read(READ_BYTES)):
                remaining -= len(part)
        finally:
            _drains.release()
