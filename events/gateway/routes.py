"""The routes that accept events, by their exact path."""

from __future__ import annotations

from django.conf import settings

from events.gateway.views.internal import InternalBatchView, ReplayView, RetlView
from events.gateway.views.public import (
    BatchView,
    BeaconView,
    EventView,
    PixelView,
    WebhookView,
    discard_report,
)
from events.gateway.views.segment import SegmentBatchView, SegmentEventView
from sources.routing import Route, get, get_and_post, post, unprefixed_path

SINGLE_CALLS = ("identify", "track", "page", "screen", "group", "alias", "merge")
SHORT_CALLS = {
    "i": "identify",
    "t": "track",
    "p": "page",
    "s": "screen",
    "g": "group",
    "a": "alias",
}

PUBLIC_ROUTES: dict[str, Route] = {
    **{f"/v1/{name}": post(EventView.as_view(event_type=name)) for name in SINGLE_CALLS},
    **{
        f"/v1/{short}": post(SegmentEventView.as_view(event_type=name))
        for short, name in SHORT_CALLS.items()
    },
    **{
        f"/{prefix}/{name}{suffix}": get(
            PixelView.as_view(event_type=name, takes_data=prefix == "v1/pixel")
        )
        for prefix in ("pixel/v1", "v1/pixel")
        for name in ("page", "track")
        for suffix in ("", ".gif")
    },
    "/v1/batch": post(BatchView.as_view()),
    "/v1/import": post(BatchView.as_view()),
    "/v1/b": post(SegmentBatchView.as_view()),
    "/beacon/v1/batch": post(BeaconView.as_view()),
    "/v1/webhook": get_and_post(WebhookView.as_view()),
    "/v1/audiencelist": post(EventView.as_view(event_type="audiencelist")),
    "/v1/m": post(discard_report),
    "/rsaMetrics": post(discard_report),
}

INTERNAL_ROUTES: dict[str, Route] = {
    "/internal/v1/extract": post(EventView.as_view(event_type="extract")),
    "/internal/v1/audiencelist": post(EventView.as_view(event_type="audiencelist")),
    "/internal/v1/retl": post(RetlView.as_view()),
    "/internal/v1/replay": post(ReplayView.as_view()),
    "/internal/v1/batch": post(InternalBatchView.as_view()),
}


def find_event_route(path: str) -> Route | None:
    path = unprefixed_path(path)
    if path.startswith("/internal/") and settings.INTERNAL_ROUTES:
        return INTERNAL_ROUTES.get(path)
    return PUBLIC_ROUTES.get(path)
