"""The gateway's answers to mistakes of the sender: a status and a line of text."""

from __future__ import annotations

from events.log.writer import LogUnavailableError
from events.protocol.event import EventTooLargeError, InvalidRequestError
from events.protocol.json_body import InvalidJSONError
from sources.refusals import RefusedError, unavailable

ORIGIN_NOT_ALLOWED = (400, "Invalid request: origin is not allowed")
NO_WEBHOOK_SOURCE = (404, "Source does not accept webhook events")
INVALID_DESTINATION = (400, "Invalid request: invalid destination id")
DESTINATION_DISABLED = (404, "Destination is disabled")


class BodyTooLargeError(InvalidRequestError):
    """The body exceeds the limit of its source, so it is never parsed."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"request size exceeds max limit of {max_bytes} bytes for a request")


def refusal(error: Exception) -> RefusedError | None:
    """The answer to an error; None for an error that is not the sender's."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, InvalidJSONError):
        return RefusedError(400, f"Invalid JSON: {error}")
    if isinstance(error, BodyTooLargeError | EventTooLargeError):
        return RefusedError(413, f"Request size too large: {error}")
    if isinstance(error, InvalidRequestError):
        return RefusedError(400, f"Invalid request: {error}")
    if isinstance(error, LogUnavailableError):
        return unavailable(error.retry_after_seconds)
    return None
