"""Whoever has a second factor passes it before any page; while it is required, all set one up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from rudderhub.accounts.second_factor.codes import app_of

PASSED = "second_factor"  # in the session: the key of the authenticator app that was passed
OPEN = {
    "mfa_reauthenticate": {"mfa_reauthenticate", "admin:logout"},
    "mfa_activate_totp": {"mfa_activate_totp", "account_reauthenticate", "admin:logout"},
}


class SecondFactorMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: Any, kwargs: Any
    ) -> HttpResponse | None:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        step = next_step(request)
        found = request.resolver_match
        if step is None or (found and found.view_name in OPEN[step]):
            return None
        back = request.get_full_path() if request.method == "GET" else reverse("admin:index")
        return redirect_to_login(back, reverse(step))


def next_step(request: HttpRequest) -> str | None:
    """The page that has to come first; the password has been checked by now."""
    if not request.user.is_authenticated:
        return None
    app = app_of(request.user)
    if app is None:
        return "mfa_activate_totp" if settings.REQUIRE_SECOND_FACTOR else None
    return None if request.session.get(PASSED) == app.pk else "mfa_reauthenticate"
