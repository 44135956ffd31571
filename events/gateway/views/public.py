"""The views of the public event routes."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.request import Request

from events.gateway.refusals import NO_WEBHOOK_SOURCE
from events.gateway.request_body import GatewayRequest
from events.gateway.views.base import GatewayView, new_id, ok_response
from events.protocol.event import (
    InvalidEventError,
    ParsedEvent,
    batch_events,
    check_size,
    parse_event,
)
from events.protocol.pixel import GIF, pixel_event, prefers_image
from events.protocol.query_string import first_values
from events.protocol.webhook import webhook_event, webhook_properties
from sources.authentication import QueryKeyAuthentication, WebhookAuthentication
from sources.models import SourceType
from sources.refusals import RefusedError, refusal_response
from sources.snapshot import SourceInfo


class EventView(GatewayView):
    """Accepts one event, of the type that the path names."""

    event_type = ""

    def post(self, request: GatewayRequest) -> HttpResponse:
        event = request.raw_body.json(request.auth.max_body_bytes)
        envelope = self.envelope(request, len(request.raw_body.content))
        self.accept_one(event, lambda raw: parse_event(raw, self.event_type, envelope))
        return self.accepted_response()


class BatchView(GatewayView):
    """Accepts a list of events, each with its own type."""

    def post(self, request: GatewayRequest) -> HttpResponse:
        body = request.raw_body.json(request.auth.max_body_bytes)
        envelope = self.batch_envelope(request, body)
        parse = partial(parse_event, event_type=None, envelope=envelope)
        self.accept_all(batch_events(body), parse, envelope.sent_at)
        return self.accepted_response()


class BeaconView(BatchView):
    authentication_classes = [QueryKeyAuthentication]


class PixelView(GatewayView):
    """Accepts an event in the query string; answers img elements with an image, others with OK."""

    authentication_classes = [QueryKeyAuthentication]
    part_of = "query"
    event_type = ""
    takes_data = False
    removed_members = ("writeKey",)

    def get(self, request: GatewayRequest) -> HttpResponse:
        parameters = _query_parameters(request)
        if request.method != "HEAD":
            self.accept_one(parameters, partial(self.parse_parameters, request))
            return self.accepted_response()
        try:  # as accept_one, but nothing is stored
            self.parse_parameters(request, parameters)
        except InvalidEventError:
            if not request.auth.quarantines:
                raise
        return self.accepted_response()

    def parse_parameters(self, request: GatewayRequest, parameters: dict[str, str]) -> ParsedEvent:
        limit = request.auth.max_event_bytes
        envelope = self.envelope(request, 0)
        event = pixel_event(
            parameters, self.event_type, envelope.received_text, limit, takes_data=self.takes_data
        )
        check_size(event, limit)
        return parse_event(event, self.event_type, envelope)

    def accepted_response(self) -> HttpResponse:
        accept = self.request.META.get("HTTP_ACCEPT", "")
        wants_image = self.request.path.endswith(".gif") or prefers_image(accept)
        response = HttpResponse(GIF, content_type="image/gif") if wants_image else ok_response()
        response.headers["Cache-Control"] = "no-store"
        return response

    def refused_response(self, refused: RefusedError) -> HttpResponse:
        """A pixel answers every mistake of the sender with 400, but too many requests with 429."""
        response = refusal_response(refused)
        if response.status_code not in {429, 503}:
            response.status_code = 400
        response.headers["Cache-Control"] = "no-store"
        return response

    def is_quarantined(self, refused: RefusedError) -> bool:
        return self.request.method != "HEAD" and super().is_quarantined(refused)


class WebhookView(GatewayView):
    """Accepts whatever another service sends as the properties of an event."""

    part_of = "webhook"
    authentication_classes = [WebhookAuthentication]

    def check_source(self, source: SourceInfo, request: Request) -> None:
        super().check_source(source, request)
        if source.type != SourceType.WEBHOOK:
            raise RefusedError(*NO_WEBHOOK_SOURCE)

    def post(self, request: GatewayRequest) -> HttpResponse:
        body = request.raw_body.read(request.auth.max_body_bytes)
        self._accept(request, webhook_properties(body, request.META.get("CONTENT_TYPE", "")))
        return ok_response()

    def get(self, request: GatewayRequest) -> HttpResponse:
        """Stores nothing of a request without parameters, by which a provider checks the URL."""
        parameters = _query_parameters(request)
        if parameters and request.method == "GET":
            self._accept(request, dict(parameters))
        return ok_response()

    def _accept(self, request: GatewayRequest, properties: dict[str, Any]) -> None:
        limit = request.auth.max_event_bytes
        envelope = self.envelope(request, 0)
        self.accept_one(
            properties,
            lambda sent: parse_event(webhook_event(sent, new_id(), limit), "track", envelope),
        )


def _query_parameters(request: GatewayRequest) -> dict[str, str]:
    parameters = first_values(request.query)
    parameters.pop("writeKey", None)
    return parameters


def discard_report(_request: HttpRequest) -> HttpResponse:
    """Accepts an SDK's error report or metrics unread, so that the SDK does not retry."""
    return ok_response()
