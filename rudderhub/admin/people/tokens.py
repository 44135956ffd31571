"""The pages of API tokens, which give access to the profiles of one destination."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from destinations.models import ProfileToken
from events.people.api import new_token
from rudderhub.admin.base.columns import time_column
from rudderhub.admin.base.confirmation import (
    Affected,
    Confirmation,
    confirmation_page,
    confirmed_note,
)
from rudderhub.admin.base.display import copy_button, status_label

REVOKE = Confirmation(
    title="Revoke API tokens",
    yes="Revoke them",
    text=(
        "Requests with these tokens are refused from now on. This cannot be undone; add new "
        "tokens instead."
    ),
)


@admin.register(ProfileToken)
class ProfileTokenAdmin(ModelAdmin):
    list_display = ("name", "destination", "created", "state")
    list_select_related = ("destination",)
    fields = ("destination", "name")
    actions = ("revoke",)
    empty_text = "A token gives access to the profiles of one destination over HTTP. Add one."

    created = time_column("created_at", "created")

    @display(description="state")
    def state(self, token: ProfileToken) -> SafeString:
        return status_label("active", "good") if token.is_active else status_label("revoked", "off")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("created", "state") if obj else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.fields, *self.get_readonly_fields(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: ProfileToken, form: Any, change: bool) -> None:
        token, text = new_token(obj.destination, obj.name)
        obj.pk, obj.digest = token.pk, token.digest
        notice = "Copy the token now. It is not shown again: {} {}"
        messages.warning(request, format_html(notice, text, copy_button(text)))

    @action(description="Revoke…", permissions=["delete"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ProfileToken]) -> HttpResponse | None:
        active = queryset.filter(revoked_at=None).select_related("destination")
        if confirmed_note(request, REVOKE) is None:
            rows = [(token.name, token.destination, self.created(token)) for token in active]
            return confirmation_page(
                self, request, REVOKE, Affected(("Token", "Destination", "Created"), rows)
            )
        for token in active:
            token.revoked_at = timezone.now()
            token.save(update_fields=["revoked_at"])
            self.log_change(request, token, "Revoked.")
            messages.success(request, f"Revoked {token}.")
        return None
