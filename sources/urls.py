from __future__ import annotations

import re

from sources.routing import Route, get
from sources.script_views import rudderstack_view, segment_bundle_view, segment_view
from sources.views import segment_settings_view, source_config_view

ROUTES = {
    **{path: get(source_config_view) for path in ("/sourceConfig", "/sourceConfig/")},
    **{f"/v3/{build}/rsa.min.js": get(rudderstack_view, build) for build in ("modern", "legacy")},
}

_SEGMENT_SETTINGS = re.compile(r"/v1/projects/([^/]+)/settings")
_SEGMENT_SCRIPT = re.compile(r"/analytics\.js/v1/[^/]+/analytics(\.min)?\.js")
_SEGMENT_BUNDLE = re.compile(r"/analytics-next/bundles/([\w.-]+\.js)", re.ASCII)


def pattern_route(path: str) -> Route | None:
    """The paths with a part of their own: Segment's settings of a key, its script and bundles."""
    if path.startswith("/v1/projects/"):
        found = _SEGMENT_SETTINGS.fullmatch(path)
        return get(segment_settings_view, found[1]) if found else None
    if path.startswith("/analytics.js/"):
        return get(segment_view) if _SEGMENT_SCRIPT.fullmatch(path) else None
    found = _SEGMENT_BUNDLE.fullmatch(path) if path.startswith("/analytics-next/") else None
    return get(segment_bundle_view, found[1]) if found else None
