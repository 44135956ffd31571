"""Destinations, their connections, and requests about the people in their warehouses.

Django and all callers import the models from here.
"""

from __future__ import annotations

from destinations.models.destination import Connection, Destination, FilterMode, Start
from destinations.models.people import (
    ChangeState,
    Erasure,
    ErasureState,
    ErasureStep,
    IdentityChange,
    IdentityChanges,
    IdentityCheck,
    ProfileToken,
)
from destinations.models.retrying import NO_FAILURE, Retrying

__all__ = [
    "NO_FAILURE",
    "ChangeState",
    "Connection",
    "Destination",
    "Erasure",
    "ErasureState",
    "ErasureStep",
    "FilterMode",
    "IdentityChange",
    "IdentityChanges",
    "IdentityCheck",
    "ProfileToken",
    "Retrying",
    "Start",
]
