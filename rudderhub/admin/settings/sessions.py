"""The pages of sessions: logged-in browsers, with user and address."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast

from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.models import DELETION
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.decorators import display

from events.workers import audit
from rudderhub.accounts.second_factor.middleware import PASSED
from rudderhub.accounts.session_store import ORIGIN, browser_name, stored_key
from rudderhub.admin.base.columns import column, time_column
from rudderhub.admin.base.deletion import SummarisedDeletion
from rudderhub.admin.base.display import clipped_text, relative_time, status_label
from rudderhub.admin.base.record_pages import RowsAdmin

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _WithUser(TypedDict):
        is_this: bool
        username: str | None
        app_pk: int | None

    SessionRow = WithAnnotations[Session, _WithUser]


@admin.register(Session)
class SessionAdmin(SummarisedDeletion, RowsAdmin):
    """Logged-in browsers; deleting one logs its user out. Every user may see their own."""

    list_display = fields = readonly_fields = (
        *("user", "since", "address", "browser", "ends", "state"),
    )
    ordering = ("-expire_date",)
    sortable_by = ()

    ends = time_column("expire_date", "ends")
    user = column("username", "user", lambda name: name or "nobody")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        is_this = Q(pk=stored_key(request.session.session_key or ""))
        sessions = Session.objects.filter(expire_date__gt=timezone.now())
        sessions = sessions.annotate(is_this=ExpressionWrapper(is_this, BooleanField()))
        if request.user.has_perm("sessions.view_session"):
            return sessions
        own = [session.pk for session in sessions if _user_pk(session) == str(request.user.pk)]
        return sessions.filter(pk__in=own)

    def rows(self, records: Iterable[Session], request: HttpRequest) -> list[SessionRow]:
        """The sessions with the user's name and the key of their authenticator app."""
        rows = [cast("SessionRow", record) for record in records]
        pks = {_user_pk(row) for row in rows} - {None}
        names = dict(User.objects.filter(pk__in=pks).values_list("pk", "username"))
        apps = Authenticator.objects.filter(user__in=pks, type=Authenticator.Type.TOTP)
        app_pks = dict(apps.values_list("user_id", "pk"))
        for row in rows:
            pk = int(_user_pk(row) or 0)
            row.username, row.app_pk = names.get(pk), app_pks.get(pk)
        return rows

    def has_module_permission(self, request: HttpRequest) -> bool:
        return True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        is_own = obj is None or _user_pk(obj) == str(request.user.pk)
        return is_own or super().has_delete_permission(request, obj)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        return super().get_deleted_objects(self.rows(objs, request), request)

    def deletion_name(self, record: SessionRow) -> str:
        return f"Session of {self.user(record)} from {self.address(record)}"

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        for session in self.rows(queryset, request):
            text = f"Ended the session of {self.user(session)}."
            audit.log_action(request.user.pk, session, text, DELETION)

    @display(description="logged in")
    def since(self, session: Session) -> SafeString:
        at = _origin(session).get("at")
        return relative_time(datetime.fromisoformat(at) if at else None, never="-")

    @display(description="from")
    def address(self, session: Session) -> str:
        return _origin(session).get("address") or "-"

    @display(description="browser")
    def browser(self, session: Session) -> SafeString:
        agent = _origin(session).get("browser") or "-"
        return clipped_text(agent, browser_name(agent))

    @display(description="state")
    def state(self, session: SessionRow) -> SafeString:
        if session.is_this:
            return status_label("this browser", "good")
        if session.app_pk in (None, session.get_decoded().get(PASSED)):
            return status_label("open", "good")
        return status_label("waiting for a code", "wait")


def _user_pk(session: Session) -> str | None:
    pk: str | None = session.get_decoded().get("_auth_user_id")
    return pk


def _origin(session: Session) -> dict[str, str]:
    """The origin that was recorded at log-in; empty if none was."""
    origin: dict[str, str] = session.get_decoded().get(ORIGIN, {})
    return origin
