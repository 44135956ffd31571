"""The forms of the second factor: set-up, code and password."""

from __future__ import annotations

import time
from typing import Any

from allauth.account.forms import ReauthenticateForm as ReauthenticateByPasswordForm
from allauth.core import context
from allauth.mfa.base.forms import ReauthenticateForm
from allauth.mfa.utils import decrypt, encrypt
from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminTextInputWidget

from rudderhub.accounts.second_factor.codes import authenticator_app, is_locked, use_code
from rudderhub.accounts.second_factor.totp import matching_step, new_secret

PENDING_SECRET = "second_factor_secret"  # noqa: S105  # a key of the session

WRONG = (
    "This code is wrong or has already been used. Wait for the next one. If no code works, check "
    "the clocks of the phone and the server."
)
LOCKED = "Too many wrong codes. Wait 15 minutes, or ask an admin to reset your second factor."


def _code_field(label: str, **attrs: Any) -> forms.CharField:
    attributes = {"autocomplete": "one-time-code", "autofocus": True, **attrs}
    return forms.CharField(
        label=label, max_length=20, widget=UnfoldAdminTextInputWidget(attributes)
    )


class EnrolForm(forms.Form):
    code = _code_field("Code from the app", inputmode="numeric")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.secret = _pending_secret()

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if matching_step(self.secret, code, time.time()) is None:
            raise forms.ValidationError(WRONG)
        return code


class CodeForm(ReauthenticateForm):
    code = _code_field("Code from your authenticator app, or a recovery code")

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        try:
            used = use_code(self.user, code)
        except ImproperlyConfigured as error:
            raise forms.ValidationError(str(error)) from error
        if used is None:
            app = authenticator_app(self.user)
            raise forms.ValidationError(LOCKED if app and is_locked(app) else WRONG)
        self.authenticator = used
        return code


class PasswordForm(ReauthenticateByPasswordForm):
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=UnfoldAdminPasswordWidget({"autocomplete": "current-password", "autofocus": True}),
    )


def _pending_secret() -> str:
    """The new secret of a set-up; the session holds it encrypted until a code confirms it."""
    session = context.request.session
    if PENDING_SECRET not in session:
        session[PENDING_SECRET] = encrypt(new_secret())
    return decrypt(session[PENDING_SECRET])
