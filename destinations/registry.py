"""The destination types by name."""

from __future__ import annotations

from destinations.interface import DestinationError, DestinationType
from destinations.postgres.destination import PostgresDestination

_TYPES: dict[str, DestinationType] = {kind.name: kind for kind in (PostgresDestination(),)}

TYPE_CHOICES = [(kind.name, kind.label) for kind in _TYPES.values()]


def destination_type(name: str) -> DestinationType:
    """The type with this name; raises DestinationError if there is none."""
    if name not in _TYPES:
        raise DestinationError(f"destination type is {name!r}, expected one of {sorted(_TYPES)}")
    return _TYPES[name]
