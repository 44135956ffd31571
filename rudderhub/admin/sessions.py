"""Who is logged in, and from where."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import admin
from django.contrib.admin.models import DELETION
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.views import ChangeList

from rudderhub.second_factor.middleware import PASSED
from rudderhub.sessions import ORIGIN, browser_name, stored_key
from sources import audit
from sources.display import clipped, label, when


class SessionChangeList(ChangeList):
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        _add_users(self.result_list)


@admin.register(Session)
class SessionAdmin(ModelAdmin):
    """Logged-in browsers; deleting a session logs its user out. Everybody has their own."""

    list_display = fields = readonly_fields = (
        *("user", "since", "address", "browser", "ends", "state"),
    )
    ordering = ("-expire_date",)
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        this = Q(pk=stored_key(request.session.session_key or ""))
        found = Session.objects.filter(expire_date__gt=timezone.now())
        found = found.annotate(is_this=ExpressionWrapper(this, BooleanField()))
        if request.user.has_perm("sessions.view_session"):
            return found
        own = [each.pk for each in found if _user_pk(each) == str(request.user.pk)]
        return found.filter(pk__in=own)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SessionChangeList]:
        return SessionChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Session | None:
        session: Session | None = super().get_object(request, object_id, from_field)
        if session is not None:
            _add_users([session])
        return session

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
        chosen = list(objs)
        _add_users(chosen)
        names = [f"Session of {self.user(each)} from {self.address(each)}" for each in chosen]
        may_not = any(not self.has_delete_permission(request, each) for each in chosen)
        return names, {"sessions": len(names)}, {"session"} if may_not else set(), []

    def log_deletions(self, request: HttpRequest, queryset: Any) -> None:
        chosen = list(queryset)
        _add_users(chosen)
        for session in chosen:
            text = f"Ended the session of {self.user(session)}."
            audit.note(request.user.pk, session, text, DELETION)

    @display(description="user")
    def user(self, session: Session) -> str:
        return session.username or "nobody"  # type: ignore[attr-defined]

    @display(description="logged in")
    def since(self, session: Session) -> SafeString:
        at = _origin(session).get("at")
        return when(datetime.fromisoformat(at) if at else None, never="-")

    @display(description="from")
    def address(self, session: Session) -> str:
        return _origin(session).get("address") or "-"

    @display(description="browser")
    def browser(self, session: Session) -> SafeString:
        agent = _origin(session).get("browser") or "-"
        return clipped(agent, browser_name(agent))

    @display(description="ends")
    def ends(self, session: Session) -> SafeString:
        return when(session.expire_date)

    @display(description="state")
    def state(self, session: Session) -> SafeString:
        if session.is_this:  # type: ignore[attr-defined]
            return label("this browser", "good")
        if session.app_pk in (None, session.get_decoded().get(PASSED)):  # type: ignore[attr-defined]
            return label("open", "good")
        return label("waiting for a code", "wait")


def _add_users(sessions: Iterable[Any]) -> None:
    """Their names and the numbers of their authenticator apps, in a query each."""
    pks = {_user_pk(each) for each in sessions} - {None}
    names = dict(User.objects.filter(pk__in=pks).values_list("pk", "username"))
    apps = Authenticator.objects.filter(user__in=pks, type=Authenticator.Type.TOTP)
    app_pks = dict(apps.values_list("user_id", "pk"))
    for each in sessions:
        pk = int(_user_pk(each) or 0)
        each.username, each.app_pk = names.get(pk), app_pks.get(pk)


def _user_pk(session: Session) -> str | None:
    pk: str | None = session.get_decoded().get("_auth_user_id")
    return pk


def _origin(session: Session) -> dict[str, str]:
    """Of a session from before these were kept: nothing."""
    found: dict[str, str] = session.get_decoded().get(ORIGIN, {})
    return found
