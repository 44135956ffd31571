"""The routes of SDK configuration and SDK scripts, by exact path or by pattern."""

from __future__ import annotations

import re

from sources.routing import Route, get
from sources.sdk.config_views import segment_settings_view, source_config_view
from sources.sdk.script_views import rudderstack_view, segment_bundle_view, segment_view

SDK_ROUTES = {
    **{path: get(source_config_view) for path in ("/sourceConfig", "/sourceConfig/")},
    **{f"/v3/{build}/rsa.min.js": get(rudderstack_view, build) for build in ("modern", "legacy")},
}

_SEGMENT_SETTINGS = re.compile(r"/v1/projects/([^/]+)/settings")
_SEGMENT_SCRIPT = re.compile(r"/analytics\.js/v1/[^/]+/analytics(\.min)?\.js")
_SEGMENT_BUNDLE = re.compile(r"/analytics-next/bundles/([\w.-]+\.js)", re.ASCII)


def find_sdk_route(path: str) -> Route | None:
    """The route of a path that varies: Segment's settings of a key, its script, its bundles."""
    if path.startswith("/v1/projects/"):
        match = _SEGMENT_SETTINGS.fullmatch(path)
        return get(segment_settings_view, match[1]) if match else None
    if path.startswith("/analytics.js/"):
        return get(segment_view) if _SEGMENT_SCRIPT.fullmatch(path) else None
    match = _SEGMENT_BUNDLE.fullmatch(path) if path.startswith("/analytics-next/") else None
    return get(segment_bundle_view, match[1]) if match else None
