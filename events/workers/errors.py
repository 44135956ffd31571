"""Error texts without the values in them.

Errors that differ in their values only are of one kind, and no text shows what is hidden elsewhere.
"""

from __future__ import annotations

import re

from destinations.interface import DestinationError, DestinationUnavailableError

LONGEST = 200

_DETAIL = re.compile(r"\s(?:DETAIL|CONTEXT|QUERY|LINE \d+):.*", re.DOTALL)
"""What Postgres adds to an error, with values that stand in no quotes."""
_VALUES = re.compile(r"""(?<!\w)"(?:.*?)"(?!\w)|(?<!\w)'(?:.*?)'(?!\w)|[0-9]+""", re.DOTALL)
_QUOTE = re.compile(r"""(?<!\w)["']|["'](?!\w)""")
_ALL_QUOTED = re.compile(r"""["'](?:.*["']|.*)|[0-9]+""", re.DOTALL)


def reason_kind(reason: str) -> str:
    """The reason without its values: "batch[3] is no object" gives "batch[…] is no object"."""
    stated = _DETAIL.sub("", reason)
    kind = _VALUES.sub("…", stated)
    if _QUOTE.search(kind):  # a value has quotes itself: nobody knows where it ends
        kind = _ALL_QUOTED.sub("…", stated)
    return kind[:LONGEST]


def public_error_text(error: Exception) -> str:
    """The text of a failure for all staff; an unexpected error may quote an event, so it is cut."""
    if isinstance(error, DestinationError | DestinationUnavailableError):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {reason_kind(str(error))}"
