from __future__ import annotations

import re

from sources.routing import Route, get
from sources.views import segment_settings_view, source_config_view

ROUTES = {path: get(source_config_view) for path in ("/sourceConfig", "/sourceConfig/")}

_SEGMENT_SETTINGS = re.compile(r"/v1/projects/([^/]+)/settings")


def settings_route(path: str) -> Route | None:
    """/v1/projects/KEY/settings, the one path with a part of its own."""
    found = _SEGMENT_SETTINGS.fullmatch(path) if path.startswith("/v1/projects/") else None
    return get(segment_settings_view, found[1]) if found else None
