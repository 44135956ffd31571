"""Error texts without the values in them, which group errors and hide personal data."""

from __future__ import annotations

import re
from traceback import format_tb

from destinations.interface import DestinationError, DestinationUnavailableError

MAX_LENGTH = 200

_DETAIL = re.compile(r"\s(?:DETAIL|CONTEXT|QUERY|LINE \d+):.*", re.DOTALL)
"""The parts that Postgres adds to an error; they contain values without quotes."""
_VALUES = re.compile(r"""(?<!\w)"(?:.*?)"(?!\w)|(?<!\w)'(?:.*?)'(?!\w)|[0-9]+""", re.DOTALL)
_QUOTE = re.compile(r"""(?<!\w)["']|["'](?!\w)""")
_ALL_QUOTED = re.compile(r"""["'](?:.*["']|.*)|[0-9]+""", re.DOTALL)


def fingerprint(reason: str) -> str:
    """The reason without its values: "batch[3] is no object" gives "batch[…] is no object"."""
    text = _DETAIL.sub("", reason)
    without_values = _VALUES.sub("…", text)
    if _QUOTE.search(without_values):  # a value contains quotes, so its end is unknown
        without_values = _ALL_QUOTED.sub("…", text)
    return without_values[:MAX_LENGTH]


def public_error_text(error: Exception) -> str:
    """The text of a failure that all staff may read: of an unexpected error without its values."""
    if isinstance(error, DestinationError | DestinationUnavailableError):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {fingerprint(str(error))}"


def traceback_without_text(error: Exception) -> str:
    """The error's traceback and type; its text may quote personal data."""
    return f"{''.join(format_tb(error.__traceback__))}{type(error).__name__}"
