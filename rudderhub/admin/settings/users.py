"""The pages of users, roles and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Exists, ManyToManyField, OuterRef, QuerySet
from django.forms import ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from rudderhub.accounts.second_factor.codes import authenticator_app, remove_second_factor
from rudderhub.admin.base.columns import column, copyable_column, switch_column, time_column
from rudderhub.admin.base.read_only import ReadOnlyAdmin

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _WithApp(TypedDict):
        has_app: bool

    UserRow = WithAnnotations[User, _WithApp]

for model in (User, Group, EmailAddress, Authenticator):
    admin.site.unregister(model)  # nobody edits the secrets of django-allauth's models


class GrantingAdmin(ModelAdmin):
    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """The changed fields, with the permissions that were granted or removed."""
        if add or not form.changed_data:
            return super().construct_change_message(request, form, formsets, add)
        return [{"changed": {"fields": [_change_text(form, name) for name in form.changed_data]}}]

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **options: Any
    ) -> ModelMultipleChoiceField[Any] | None:
        """Check boxes, without the permissions of models that have no page."""
        options["widget"] = UnfoldAdminCheckboxSelectMultipleWidget
        field = super().formfield_for_manytomany(db_field, request, **options)
        if db_field.related_model is Permission:
            types = ContentType.objects.get_for_models(*self.admin_site._registry)  # noqa: SLF001
            field.queryset = field.queryset.filter(content_type__in=types.values())
        return field


@admin.register(User)
class StaffAdmin(UserAdmin, GrantingAdmin):  # type: ignore[type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    filter_horizontal = ()
    fieldsets = (
        (None, {"fields": ("username", "password", "logged_in", "joined")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        (
            "Permissions",
            {"fields": ("is_active", "is_staff", "is_superuser", "groups", "user_permissions")},
        ),
    )
    readonly_fields = ("logged_in", "joined")
    list_display = ("username", "email", "is_staff", "is_active", "logged_in", "second_factor")
    search_help_text = "User name, name or e-mail address"
    actions_detail = ("reset_second_factor",)

    logged_in = time_column("last_login", "last log-in", ordering="last_login")
    joined = time_column("date_joined", "created")
    second_factor = switch_column("has_app", "second factor")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        app = Authenticator.objects.filter(user=OuterRef("pk"), type=Authenticator.Type.TOTP)
        return super().get_queryset(request).annotate(has_app=Exists(app))

    @action(
        description="Reset second factor",
        url_path="reset-second-factor",
        permissions=["reset_second_factor"],
    )
    def reset_second_factor(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = get_object_or_404(User, pk=object_id)
        back = reverse("admin:auth_user_change", args=[user.pk])
        if request.method == "POST":
            remove_second_factor(user, "Reset the second factor.", request.user.pk)
            messages.success(request, f"The second factor of {user} is reset.")
            return HttpResponseRedirect(back)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Reset the second factor of {user}?",
            "lines": [
                "Do this if the phone and the recovery codes are lost. Check who is asking first.",
                "This user can then log in with only the password until they set up a new one.",
            ],
            "yes": "Reset",
            "back": back,
        }
        return TemplateResponse(request, "rudderhub/base/plain_confirmation.html", context)

    def has_reset_second_factor_permission(self, request: HttpRequest, object_id: str) -> bool:
        """For other users only: one's own second factor is removed on its own page, with a code."""
        user = self.get_object(request, object_id)
        return (
            isinstance(user, User)
            and user != request.user
            and authenticator_app(user) is not None
            and self.has_change_permission(request, user)
        )


@admin.register(Group)
class TeamAdmin(GroupAdmin, GrantingAdmin):
    filter_horizontal = ()


@admin.register(LogEntry)
class AuditAdmin(ReadOnlyAdmin):
    list_display = ("time", "user", "what", "kind", "name")
    list_filter = ("user", "content_type", "action_flag")
    list_select_related = ("user", "content_type")
    search_fields = ("object_repr", "change_message", "user__username")
    search_help_text = "User, object or action"
    empty_text = "No changes yet."
    fields = readonly_fields = ("time", "user", "what", "kind", "name", "number")

    time = time_column("action_time", "time")
    number = copyable_column("object_id", "object's number")
    name = column("object_repr", "object", str)

    @display(description="what")
    def what(self, entry: LogEntry) -> str:
        return entry.get_change_message() or entry.get_action_flag_display()

    @display(description="kind")
    def kind(self, entry: LogEntry) -> str:
        return entry.content_type.name if entry.content_type else "-"


def _change_text(form: Any, name: str) -> str:
    """The label of a changed field; for roles, permissions and switches with the change."""
    if name not in form.fields:
        return name  # a password form reports the user's field, which it does not have
    label, new = str(form.fields[name].label or name), form.cleaned_data.get(name)
    if isinstance(new, bool):
        return f"{label} ({'on' if new else 'off'})"
    if not isinstance(new, QuerySet):
        return label
    old = {str(record) for record in form.initial.get(name, ())}
    now = {str(record) for record in new}
    changes = (("added", sorted(now - old)), ("removed", sorted(old - now)))
    parts = [f"{how} {', '.join(names)}" for how, names in changes if names]
    return f"{label} ({'; '.join(parts)})"
