"""The first visit: a one-time link creates the first admin, in place of a default password."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model, login
from django.contrib.auth.forms import BaseUserCreationForm
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextInputWidget,
)

from events.workers import audit

SETUP_LOCK = 0x72756464_00000010
UNSAFE_KEY = "not-set-up-yet"


def setup_token() -> str | None:
    """The last part of /setup/<token>/; None if an admin exists, or without a secret key.

    It depends on SECRET_KEY alone, so that `manage.py info` can show it as long as it is needed.
    """
    if settings.SECRET_KEY.startswith(UNSAFE_KEY) or _has_admin():
        return None
    return salted_hmac(
        "rudderhub.accounts.first_admin", "first admin", algorithm="sha256"
    ).hexdigest()


class FirstAdminForm(BaseUserCreationForm):  # type: ignore[type-arg]
    email = forms.EmailField(label="E-mail", required=False, widget=UnfoldAdminEmailInputWidget)

    class Meta:
        model = User
        fields = ("username", "email")
        widgets = {"username": UnfoldAdminTextInputWidget}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("password1", "password2"):
            self.fields[name].widget = UnfoldAdminPasswordWidget({"autocomplete": "new-password"})
        self.fields["password1"].label = "Password"
        self.fields["password2"].label = "Repeat password"
        self.fields["password2"].help_text = ""
        self.fields["username"].widget.attrs |= {"autofocus": True, "autocomplete": "username"}


@sensitive_post_parameters("password1", "password2")
@never_cache
@csrf_protect
@require_http_methods(["GET", "HEAD", "POST"])
def first_admin(request: HttpRequest, token: str) -> HttpResponse:
    expected = setup_token()
    if expected is None or not constant_time_compare(token, expected):
        return _expired_link(request)
    form = FirstAdminForm(request.POST or None)
    if request.method != "POST" or not form.is_valid():
        context = {**admin.site.each_context(request), "title": "Create the first admin"}
        return render(request, "rudderhub/accounts/first_admin.html", {**context, "form": form})
    user = _create_admin(form)
    if user is None:
        return _expired_link(request)
    audit.log_action(user.pk, user, "Created the first admin with the set-up link.")
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponseRedirect(reverse("admin:index"))


def first_visit(request: HttpRequest) -> dict[str, bool]:
    """The context for GLOBAL_CALLBACK of unfold: whether the first admin is missing."""
    return {} if request.user.is_authenticated else {"needs_first_admin": not _has_admin()}


def _create_admin(form: FirstAdminForm) -> User | None:
    """The first admin; None if another submission created it. A lock orders two at once."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SETUP_LOCK])
        if _has_admin():
            return None
        user: User = form.save(commit=False)
        user.is_staff = user.is_superuser = True
        user.save()
    return user


def _has_admin() -> bool:
    return get_user_model().objects.filter(is_superuser=True).exists()


def _expired_link(request: HttpRequest) -> HttpResponse:
    context = {**admin.site.each_context(request), "title": "This set-up link does not work"}
    return render(request, "rudderhub/accounts/first_admin_gone.html", context, status=404)
