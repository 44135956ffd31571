"""The change of one's own password. Wrong guesses at the old one count as failed log-ins."""

from __future__ import annotations

from typing import Any

from allauth.core import context
from django.contrib import admin
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import ValidationError
from django.urls import reverse_lazy
from unfold.forms import AdminOwnPasswordChangeForm

from events.workers import audit


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]
    def clean_old_password(self) -> str:
        old_password: str = self.cleaned_data["old_password"]
        username = self.user.get_username()
        if authenticate(context.request, username=username, password=old_password) is None:
            raise ValidationError(
                self.error_messages["password_incorrect"], code="password_incorrect"
            )
        return old_password

    def save(self, commit: bool = True) -> User:
        user: User = super().save(commit)
        audit.log_action(user.pk, user, "Changed the password.")
        return user


class OwnPassword(PasswordChangeView):
    form_class = OwnPasswordForm
    template_name = "registration/password_change_form.html"
    success_url = reverse_lazy("admin:password_change_done")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(**admin.site.each_context(self.request), **kwargs)
