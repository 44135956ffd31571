"""The pages of sources and destinations, users and roles, who did what, and who is logged in."""

from rudderhub.admin.data.logged_destinations import LoggedDestinationAdmin
from rudderhub.admin.data.logged_sources import LoggedSourceAdmin
from rudderhub.admin.sessions import SessionAdmin
from rudderhub.admin.users import AuditAdmin, StaffAdmin, TeamAdmin

__all__ = [
    "AuditAdmin",
    "LoggedDestinationAdmin",
    "LoggedSourceAdmin",
    "SessionAdmin",
    "StaffAdmin",
    "TeamAdmin",
]
