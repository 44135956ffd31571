"""Builds the configuration that SDKs fetch before they send events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from sources.snapshot import SourceInfo

_HOST = re.compile(r"[A-Za-z0-9.-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?")


def source_config(source: SourceInfo, write_key: str) -> dict[str, Any]:
    """RudderStack's sourceConfig: the least that all its SDKs accept, without device mode."""
    updated = source.updated_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    off = {"enabled": False}
    return {
        "source": {
            "id": source.public_id,
            "name": source.name,
            "writeKey": write_key,
            "enabled": source.enabled,
            "workspaceId": "rudderhub",
            "updatedAt": updated,
            "destinations": [],
            "config": {"statsCollection": {"errors": off, "metrics": off}},
        }
    }


def segment_settings(write_key: str, data_plane_url: str) -> dict[str, Any]:
    """Segment's settings; without them Segment's SDK sends to Segment's own cloud."""
    parts = urlsplit(data_plane_url)
    return {
        "integrations": {
            "Segment.io": {
                "apiKey": write_key,
                "apiHost": f"{parts.netloc}{parts.path}/v1",
                "protocol": parts.scheme,
            }
        },
        "metrics": {"sampleRate": 0},
    }


def public_url(environ: Mapping[str, Any], base_url: str, *, behind_trusted_proxy: bool) -> str:
    """The URL by which the sender reached the instance; base_url without a valid Host header."""
    host = str(environ.get("HTTP_HOST", ""))
    if not _HOST.fullmatch(host):
        return base_url
    forwarded = str(environ.get("HTTP_X_FORWARDED_PROTO", "")) if behind_trusted_proxy else ""
    scheme = forwarded if forwarded in {"http", "https"} else environ.get("wsgi.url_scheme", "http")
    return f"{scheme}://{host}"
