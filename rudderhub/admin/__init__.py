"""The pages of sources and destinations, users and roles, who did what, and who is logged in."""

from rudderhub.admin.data.destinations import DestinationAdmin
from rudderhub.admin.data.sources import SourceAdmin
from rudderhub.admin.sessions import SessionAdmin
from rudderhub.admin.users import AuditAdmin, StaffAdmin, TeamAdmin

__all__ = [
    "AuditAdmin",
    "DestinationAdmin",
    "SessionAdmin",
    "SourceAdmin",
    "StaffAdmin",
    "TeamAdmin",
]
