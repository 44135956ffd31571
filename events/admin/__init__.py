"""Live events with their trace, loads, connections, dead letters and quarantine."""

from events.admin.connections import ConnectionAdmin
from events.admin.live import EventAdmin
from events.admin.loads import LoadAdmin
from events.admin.losses import LossAdmin
from events.admin.privacy import ErasureAdmin, IdentityCheckAdmin, ProfileTokenAdmin
from events.admin.quarantine import QuarantinedAdmin
from events.admin.refused import DeadLetterAdmin
from events.admin.replays import ReplayAdmin

__all__ = [
    "ConnectionAdmin",
    "DeadLetterAdmin",
    "ErasureAdmin",
    "EventAdmin",
    "IdentityCheckAdmin",
    "LoadAdmin",
    "LossAdmin",
    "ProfileTokenAdmin",
    "QuarantinedAdmin",
    "ReplayAdmin",
]
