"""What to do about the errors of warehouses, and about what was refused, in words."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """The class of an error, and the next step."""

    kind: str
    text: str


_KNOWN = {
    "password authentication failed": Advice(
        "log-in refused", "Enter the user and password of the destination again."
    ),
    "connection refused": Advice(
        "out of reach", "Nothing listens there: start the server, or correct host and port."
    ),
    "could not translate host name": Advice("out of reach", "Correct the host of the destination."),
    "failed to resolve host": Advice("out of reach", "Correct the host of the destination."),
    "permission denied": Advice(
        "rights are missing", "Give the user the rights that docs/how-to/warehouse.md lists."
    ),
    "read-only": Advice(
        "no writes", "The warehouse takes no writes: point the destination at the primary server."
    ),
    "no space left": Advice("disk full", "Free space on the warehouse's server."),
    "too many": Advice("overload", "Let the warehouse take more connections, or load less often."),
    "deadlock": Advice("overload", "Somebody else writes the same tables: the next try may pass."),
    "lock timeout": Advice("overload", "Find who holds a lock on the tables: pg_stat_activity."),
    "timeout": Advice(
        "out of reach", "The server is slow or out of reach: look at it and the network between."
    ),
    "the worker ended": Advice("interrupted", "Look at why the worker ended, if you did not."),
    "cursor was moved": Advice("overtaken", "Another load went on with it: nothing to do."),
    "holds the identities of": Advice(
        "schema is taken", "Name another schema of identities in the destination."
    ),
    "is of version": Advice("two versions", "Run the same version of rudderhub everywhere."),
    "the config of the warehouse lacks": Advice("settings", "Complete the destination's settings."),
    "expected one of": Advice("settings", "Correct the settings of the destination."),
    "a view of yours uses": Advice(
        "a view is in the way", "Drop your view, do this again, and make the view anew."
    ),
    "SSL": Advice("TLS", "Choose the TLS that the server speaks, in the destination."),
    "does not exist": Advice(
        "something is missing", "Create it, or correct its name in the destination."
    ),
}
_OTHER = Advice("other", "Test the destination's connection: it says which step fails.")


def advice(error: str) -> Advice:
    """For the first known part of an error's text."""
    lower = error.lower()
    return next((each for part, each in _KNOWN.items() if part.lower() in lower), _OTHER)


def refusal_advice(status: int, reason: str) -> str:
    """What to do about a request of the quarantine."""
    if status == _TOO_LARGE:
        cause = "Send less at once, or raise the size limit of the source"
    elif "origin is not allowed" in reason:
        cause = "Add the site to the allowed origins of the source, if it is yours"
    elif reason.startswith("Invalid JSON"):
        cause = "Its sender writes no valid JSON: correct it there"
    else:
        cause = "Correct the sender"
    return f"{cause}. Quarantine keeps the request: mend it there and send it again, or discard it."


_TOO_LARGE = 413
