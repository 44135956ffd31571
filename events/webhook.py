"""The event that a webhook's request describes: whatever was sent becomes the properties."""

from __future__ import annotations

import re
from typing import Any

from events.decode import loads, without_nul_and_surrogates
from events.query import all_values
from events.spec import InvalidRequestError, check_size

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


def properties_of(body: bytes, content_type: str) -> dict[str, Any]:
    """The body by its label: a form, multipart, else JSON; an empty body is {}."""
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
    """The texts of a multipart form by name; files are left out."""
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
        disposition = _disposition(head)
        name = _NAME.search(disposition)
        if not separator or not name:
            raise InvalidRequestError(_UNREADABLE)
        if not _FILE_NAME.search(disposition):
            values.setdefault(_text(name[1] or name[2] or b""), []).append(_text(content))
    return values


def _disposition(head: bytes) -> bytes:
    for line in head.split(b"\r\n"):
        header, _, value = line.partition(b":")
        if header.strip().lower() == b"content-disposition":
            return value
    return b""


def _text(raw: bytes) -> str:
    return str(without_nul_and_surrogates(raw.decode(errors="replace")))
