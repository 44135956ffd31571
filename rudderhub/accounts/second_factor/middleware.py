"""Requires the second factor before any page, and its set-up where the settings demand one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from rudderhub.accounts.second_factor.codes import authenticator_app

PASSED = "second_factor"
"""The session's key for the pk of the authenticator app of the accepted code."""
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
        match = request.resolver_match
        if step is None or (match and match.view_name in OPEN[step]):
            return None
        back = request.get_full_path() if request.method == "GET" else reverse("admin:index")
        return redirect_to_login(back, reverse(step))


def next_step(request: HttpRequest) -> str | None:
    """The name of the page that comes first after the password; None if nothing is missing."""
    if not request.user.is_authenticated:
        return None
    app = authenticator_app(request.user)
    if app is None:
        return "mfa_activate_totp" if settings.REQUIRE_SECOND_FACTOR else None
    return None if request.session.get(PASSED) == app.pk else "mfa_reauthenticate"
