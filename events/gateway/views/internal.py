"""The views of the internal routes, to which the operator's other services send batches."""

from __future__ import annotations

from functools import partial

from django.db.models import Q
from django.http import HttpResponse

from destinations.models import Destination
from events.gateway.refusals import DESTINATION_DISABLED, INVALID_DESTINATION
from events.gateway.request_body import GatewayRequest
from events.gateway.views.base import GatewayView, ok_response
from events.protocol.event import INTERNAL_TYPES, batch_events, parse_event
from events.protocol.internal_envelope import parse_described_event
from sources.authentication import SourceIdAuthentication
from sources.refusals import RefusedError


class InternalBatchView(GatewayView):
    """Accepts batches from other services of the operator, without a rate limit."""

    authentication_classes = [SourceIdAuthentication]
    is_rate_limited = False
    keeps_receipt = False
    takes_lists = True

    def post(self, request: GatewayRequest) -> HttpResponse:
        destination_id = self.destination_id(request)
        body = request.raw_body.json(request.auth.max_body_bytes)
        envelope = self.batch_envelope(
            request,
            body,
            types=INTERNAL_TYPES,
            keeps_receipt=self.keeps_receipt,
            destination_id=destination_id,
        )
        if self.takes_lists and isinstance(body, list) and body:
            source_id = request.auth.public_id
            parse = partial(parse_described_event, source_id=source_id, envelope=envelope)
            self.accept_all(body, parse, None, part_of="list")
        else:
            parse = partial(parse_event, event_type=None, envelope=envelope)
            self.accept_all(batch_events(body), parse, envelope.sent_at)
        return ok_response()

    def destination_id(self, request: GatewayRequest) -> str | None:
        return None


class ReplayView(InternalBatchView):
    """Accepts history: the events keep the time and the address of their first receipt."""

    keeps_receipt = True
    takes_lists = False


class RetlView(InternalBatchView):
    """Accepts rows of a warehouse; a header may limit them to one destination."""

    takes_lists = False

    def destination_id(self, request: GatewayRequest) -> str | None:
        public_id = str(request.META.get("HTTP_X_RUDDER_DESTINATION_ID", "")).strip()
        if not public_id:
            return None
        connected = Q(connections__source=request.auth.pk)
        destination = Destination.objects.filter(connected, public_id=public_id).first()
        if destination is None:
            raise RefusedError(*INVALID_DESTINATION)
        if not destination.enabled:
            raise RefusedError(*DESTINATION_DISABLED)
        return public_id
