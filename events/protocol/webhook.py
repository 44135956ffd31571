"""Builds the event of a webhook request: the properties are whatever was sent."""

from __future__ import annotations

import re
from typing import Any

from destinations.warehouse.json_text import without_nul
from events.protocol.event import InvalidRequestError, check_size
from events.protocol.json_body import loads
from events.protocol.query_string import all_values

_BOUNDARY = re.compile(rb'(?:^|;)\s*boundary=(?:"([^"]+)"|([^\s;"]+))', re.IGNORECASE)
_NAME = re.compile(rb'(?:^|;)\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_FILE_NAME = re.compile(rb"(?:^|;)\s*filename\*?=", re.IGNORECASE)
_UNREADABLE = "error during parsing multiform"


def webhook_event(
    properties: dict[str, Any], anonymous_id: str, max_event_bytes: int | None
) -> dict[str, Any]:
    check_size(properties, max_event_bytes)
    return {
        "event": "webhook_source_event",
        "anonymousId": anonymous_id,
        "properties": properties,
    }


def webhook_properties(body: bytes, content_type: str) -> dict[str, Any]:
    """The body by its content type: a form, multipart, otherwise JSON; an empty body gives {}."""
    label = content_type.partition(";")[0].strip().lower()
    if label == "multipart/form-data":
        return {"Value": _multipart_values(body, content_type.encode("latin-1")), "File": {}}
    if not body:
        return {}
    if label == "application/x-www-form-urlencoded":
        return dict(all_values(body))
    value = loads(body)
    return value if isinstance(value, dict) else {"body": value}


def _multipart_values(body: bytes, content_type: bytes) -> dict[str, list[str]]:
    """The texts of a multipart form by name; files are left out.

    No library reads the same bodies: python-multipart refuses a preamble, the standard library's
    email parser ends a line at a bare LF, and Django's parser belongs to a framework.
    """
    boundary = _BOUNDARY.search(content_type)
    if not boundary:
        raise InvalidRequestError(_UNREADABLE)
    delimiter = b"\r\n--" + (boundary[1] or boundary[2])
    _, *parts = (b"\r\n" + body).split(delimiter)
    if not parts or not parts.pop().startswith(b"--"):
        raise InvalidRequestError(_UNREADABLE)
    values: dict[str, list[str]] = {}
    for part in parts:
        head, separator, content = part.lstrip(b" \t").partition(b"\r\n\r\n")
        disposition = _content_disposition(head)
        name = _NAME.search(disposition)
        if not separator or not name:
            raise InvalidRequestError(_UNREADABLE)
        if not _FILE_NAME.search(disposition):
            key = _decoded_text(name[1] or name[2] or b"")
            values.setdefault(key, []).append(_decoded_text(content))
    return values


def _content_disposition(head: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        header, _, value = line.partition(b":")
        if header.strip().lower() == b"content-disposition":
            return value
    return b""


def _decoded_text(raw: bytes) -> str:
    return without_nul(raw.decode(errors="replace"))
