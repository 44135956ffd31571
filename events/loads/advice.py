"""Advice on the errors of warehouses and on refused requests."""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """The kind of an error and the next step."""

    kind: str
    text: str


_ADVICE = {
    "password authentication failed": Advice(
        "log-in refused", "Enter the destination's user and password again."
    ),
    "connection refused": Advice(
        "out of reach", "No server listens there. Start it, or correct the host and port."
    ),
    "could not translate host name": Advice("out of reach", "Correct the destination's host."),
    "failed to resolve host": Advice("out of reach", "Correct the destination's host."),
    "permission denied": Advice(
        "missing permission", "Grant the user the permissions in docs/how-to/warehouse.md."
    ),
    "read-only": Advice(
        "no writes", "The warehouse is read-only. Use the primary server in the destination."
    ),
    "no space left": Advice("disk full", "Free up disk space on the warehouse server."),
    "too many": Advice("overload", "Allow more connections in the warehouse, or load less often."),
    "deadlock": Advice(
        "overload", "Another process writes to the same tables. The next retry may succeed."
    ),
    "lock timeout": Advice(
        "overload", "Use pg_stat_activity to find the session that locks the tables."
    ),
    "timeout": Advice(
        "out of reach", "The server is slow or unreachable. Check the server and the network."
    ),
    "the worker ended": Advice(
        "interrupted", "If you did not stop the worker, find out why it ended."
    ),
    "cursor was moved": Advice("overtaken", "Another load has taken over. Nothing to do."),
    "holds the identities of": Advice(
        "schema in use", "Choose another schema of identities in the destination."
    ),
    "is of version": Advice("two versions", "Run the same version of rudderhub everywhere."),
    "the config of the warehouse lacks": Advice("settings", "Complete the destination's settings."),
    "expected one of": Advice("settings", "Correct the destination's settings."),
    "a view of yours uses": Advice(
        "a view is in the way", "Drop your view, try again, and re-create the view."
    ),
    "SSL": Advice("TLS", "Choose a TLS mode in the destination that the server supports."),
    "does not exist": Advice(
        "something is missing", "Create it, or correct its name in the destination."
    ),
}
_OTHER = Advice("other", "Test the destination's connection to see which step fails.")


def advice(error: str) -> Advice:
    """The advice of the first phrase that is in the error's text."""
    text = error.lower()
    return next((item for phrase, item in _ADVICE.items() if phrase.lower() in text), _OTHER)


def refusal_advice(status: int, reason: str) -> str:
    """The next step for a refused request in quarantine."""
    if status == _TOO_LARGE:
        cause = "Send smaller requests, or raise the size limit of the source"
    elif "origin is not allowed" in reason:
        cause = "If the site is yours, add it to the allowed origins of the source"
    elif reason.startswith("Invalid JSON"):
        cause = "Fix the sender, because the JSON is not valid"
    else:
        cause = "Fix the sender"
    return (
        f"{cause}. The request is in quarantine. Correct it there and send it again, or discard it."
    )


_TOO_LARGE = 413
