"""The views of Segment's browser SDK, which has the key in the body and expects JSON."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from events.gateway.refusals import BodyTooLargeError
from events.gateway.request_body import GatewayRequest
from events.gateway.views.base import GatewayView
from events.gateway.views.public import BatchView, EventView
from events.protocol.event import InvalidRequestError
from sources.authentication import Authenticated, WriteKeyAuthentication, source_of_key
from sources.refusals import MISSING_KEY, RefusedError
from sources.snapshot import current_snapshot


class SegmentAuthentication(BaseAuthentication):
    """Finds the key in the Authorization header; without one, in the body's writeKey."""

    def authenticate(self, request: Request) -> Authenticated:
        if request.META.get("HTTP_AUTHORIZATION"):
            return WriteKeyAuthentication().authenticate(request)
        try:
            limit = current_snapshot().max_body_bytes
            value = cast("GatewayRequest", request).raw_body.json(limit)
        except BodyTooLargeError:
            raise
        except InvalidRequestError as error:
            raise RefusedError(*MISSING_KEY) from error
        key = _member_key(value) or _member_key(_first_event(value))
        if not key:
            raise RefusedError(*MISSING_KEY)
        return None, source_of_key(key, request.META)


def _member_key(value: Any) -> str:
    key = value.get("writeKey") if isinstance(value, dict) else None
    return key if isinstance(key, str) else ""


def _first_event(value: Any) -> Any:
    batch = value.get("batch") if isinstance(value, dict) else None
    return batch[0] if isinstance(batch, list) and batch else batch


class SegmentView(GatewayView):
    """Takes the key out of the event, and answers with JSON."""

    authentication_classes = [SegmentAuthentication]
    removed_members = ("writeKey",)

    def accepted_response(self) -> HttpResponse:
        return HttpResponse(b'{"success": true}', content_type="application/json")


class SegmentEventView(SegmentView, EventView):
    pass


class SegmentBatchView(SegmentView, BatchView):
    pass
