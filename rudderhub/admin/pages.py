"""Imports every page of the admin, which registers it."""

from __future__ import annotations

from rudderhub.admin.data.connections import ConnectionAdmin
from rudderhub.admin.data.destinations import DestinationAdmin
from rudderhub.admin.data.loads import LoadAdmin
from rudderhub.admin.data.replays import ReplayAdmin
from rudderhub.admin.data.sources import SourceAdmin
from rudderhub.admin.live_events.events import EventAdmin
from rudderhub.admin.people.erasures import ErasureAdmin
from rudderhub.admin.people.self_checks import IdentityCheckAdmin
from rudderhub.admin.people.tokens import ProfileTokenAdmin
from rudderhub.admin.problems.dead_letters import DeadLetterAdmin
from rudderhub.admin.problems.losses import LossAdmin
from rudderhub.admin.problems.quarantine import QuarantinedAdmin
from rudderhub.admin.settings.sessions import SessionAdmin
from rudderhub.admin.settings.users import AuditAdmin, StaffAdmin, TeamAdmin

__all__ = [
    "AuditAdmin",
    "ConnectionAdmin",
    "DeadLetterAdmin",
    "DestinationAdmin",
    "ErasureAdmin",
    "EventAdmin",
    "IdentityCheckAdmin",
    "LoadAdmin",
    "LossAdmin",
    "ProfileTokenAdmin",
    "QuarantinedAdmin",
    "ReplayAdmin",
    "SessionAdmin",
    "SourceAdmin",
    "StaffAdmin",
    "TeamAdmin",
]
