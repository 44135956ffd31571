"""Users and roles, who did what, and who is logged in."""

from rudderhub.admin.sessions import SessionAdmin
from rudderhub.admin.users import AuditAdmin, StaffAdmin, TeamAdmin

__all__ = ["AuditAdmin", "SessionAdmin", "StaffAdmin", "TeamAdmin"]
