"""Users and roles, who did what, who looked at personal data, and who is logged in."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from events.admin.readonly import ReadOnlyAdmin
from sources.display import label, when

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class StaffAdmin(UserAdmin, ModelAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class TeamAdmin(GroupAdmin, ModelAdmin):
    pass


@admin.register(LogEntry)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("time", "user", "what", "thing", "object_repr")
    list_filter = ("user", "content_type", "action_flag")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__username")
    search_help_text = "User, object or what was done"
    empty_text = "Nobody has changed anything yet."
    fields = readonly_fields = ("time", "user", "what", "thing", "object_repr", "object_id")

    @display(description="time")
    def time(self, entry: LogEntry) -> SafeString:
        return when(entry.action_time)

    @display(description="what")
    def what(self, entry: LogEntry) -> str:
        return entry.get_change_message() or entry.get_action_flag_display()

    @display(description="kind")
    def thing(self, entry: LogEntry) -> str:
        return str(entry.content_type) if entry.content_type else "-"


@admin.register(Session)
class SessionAdmin(ModelAdmin):
    """Logged-in browsers; deleting a session logs its user out."""

    list_display = ("user", "ends", "state")
    fields = readonly_fields = ("user", "ends", "state")
    ordering = ("-expire_date",)
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        return Session.objects.filter(expire_date__gt=timezone.now())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @display(description="user")
    def user(self, session: Session) -> str:
        pk = session.get_decoded().get("_auth_user_id")
        found = User.objects.filter(pk=pk).first() if pk else None
        return found.get_username() if found else "nobody"

    @display(description="ends")
    def ends(self, session: Session) -> SafeString:
        return when(session.expire_date)

    @display(description="state")
    def state(self, session: Session) -> SafeString:
        return label("open", "good")
