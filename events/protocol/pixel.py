"""Builds the event that a pixel's query string describes, and chooses the pixel's answer."""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from collections.abc import Mapping
from typing import Any

from events.protocol.event import EventTooLargeError, InvalidEventError
from events.protocol.json_body import MAX_NESTING, InvalidJSONError, loads

GIF = base64.b64decode(
    "R0lGODlhAQABAIAAAAAAAAAAACH5BAEAAAAALAAAAAABAAEAAAICRAEAOw==", validate=True
)
MAX_INDEX = 1000

_IGNORED_NAME = re.compile(r"@|.*[*?#|]", re.DOTALL)
_DOT = re.compile(r"(?<!\\)\.")
_NULL_BYTES = len("null,")


def pixel_event(
    parameters: Mapping[str, str], event_type: str, now: str, max_bytes: int, *, takes_data: bool
) -> dict[str, Any]:
    """The event of a query string, in which names are dotted paths and values are text.

    With takes_data, the parameter "data" holds an object as base64 JSON, to which the other
    parameters are added. now has the form of format_time.
    """
    event: dict[str, Any] = {
        "channel": "web",
        "integrations": {"All": True},
        "originalTimestamp": now,
        "sentAt": now,
    }
    if takes_data and "data" in parameters:
        event |= _decoded_data(parameters["data"])
    paths = _Paths(event, max_bytes)
    for name, value in parameters.items():
        if name and name != "writeKey" and not (takes_data and name == "data"):
            paths.put(name, _adjusted_value(name, value, event_type))
    event["type"] = event_type
    return event


def prefers_image(accept: str) -> bool:
    """Whether an image type has the highest weight in Accept; among equals the first wins."""
    best, best_weight = "", 0.0
    for item in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in item.split(";"))
        weight = _weight(parameters)
        if weight > best_weight:
            best, best_weight = media_type, weight
    return best.startswith("image/")


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if re.fullmatch(r"[01](\.\d*)?", value.strip()) else 0.0
    return 1.0


def _adjusted_value(name: str, value: str, event_type: str) -> str:
    """The value without the quotes that AMP puts around anonymous ids; a page has a name."""
    if name == "anonymousId" and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1]
    if name == "name" and event_type == "page" and not value:
        return "Unknown Page"
    return value


def _decoded_data(data: str) -> dict[str, Any]:
    text = data.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        value = loads(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidEventError("data is not base64 of a JSON object") from error
    if not isinstance(value, dict):
        raise InvalidEventError("data is not base64 of a JSON object")
    return value


class _Paths:
    """Puts values at dotted paths; limits the nulls that fill the gaps of lists."""

    def __init__(self, event: dict[str, Any], max_bytes: int) -> None:
        self._event = event
        self._max_bytes = max_bytes
        self._gaps = 0

    def put(self, name: str, value: str) -> None:
        if _IGNORED_NAME.match(name):
            return
        path = [part.replace("\\.", ".") for part in _DOT.split(name)]
        if len(path) > MAX_NESTING:
            raise InvalidJSONError(f"invalid json: nested deeper than {MAX_NESTING}")
        steps = [path[0], *map(_path_step, path[1:])]
        if not any(isinstance(step, int) and step > MAX_INDEX for step in steps):
            self._put(steps, value)

    def _put(self, steps: list[str | int], value: str) -> None:
        """Puts the value; a container of the wrong kind for the next step is replaced."""
        container: Any = self._event
        for step, following in itertools.pairwise(steps):
            kind = list if isinstance(following, int) else dict
            member = self._get(container, step)
            if not isinstance(member, kind):
                self._set(container, step, member := kind())
            container = member
        self._set(container, steps[-1], value)

    def _get(self, container: Any, step: str | int) -> Any:
        if isinstance(step, int):
            return container[step] if step < len(container) else None
        return container.get(step)

    def _set(self, container: Any, step: str | int, value: Any) -> None:
        if isinstance(step, int) and step >= len(container):
            self._widen(container, step + 1 - len(container))
        container[step] = value

    def _widen(self, items: list[Any], count: int) -> None:
        self._gaps += count - 1
        if self._gaps * _NULL_BYTES > self._max_bytes:
            raise EventTooLargeError.from_limit(self._max_bytes)
        items.extend([None] * count)


def _path_step(part: str) -> str | int:
    """The list index that the part is, at most MAX_INDEX + 1; else the part, a member's name."""
    if not (part.isascii() and part.isdigit()):
        return part
    digits = part.lstrip("0")
    return int(digits or "0") if len(digits) <= len(str(MAX_INDEX)) else MAX_INDEX + 1
