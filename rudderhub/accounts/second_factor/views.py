"""The pages of one's own second factor: django-allauth's views in the frame of the admin."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from allauth.account.views import BaseReauthenticateView, ReauthenticateView
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse, reverse_lazy
from django.views.generic.base import TemplateView

from events.workers import audit
from rudderhub.accounts.second_factor.codes import authenticator_app, recovery_codes, use_code
from rudderhub.accounts.second_factor.forms import PENDING_SECRET, CodeForm, EnrolForm, PasswordForm
from rudderhub.accounts.second_factor.middleware import PASSED, next_step


class Page:
    """A page in the frame of the admin."""

    request: HttpRequest
    title: str

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)  # type: ignore[misc]
        own = {"title": self.title, "may_cancel": next_step(self.request) is None}
        return {**admin.site.each_context(self.request), **own, **context}


class Overview(Page, TemplateView):
    title = "Second factor"
    template_name = "rudderhub/accounts/second_factor/overview.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        user = _user(self.request)
        app = authenticator_app(user)
        since = app.created_at if app else None
        codes_left = len(recovery_codes(user))
        return super().get_context_data(**kwargs, since=since, codes_left=codes_left)


class Enrol(Page, ActivateTOTPView):
    title = "Set up a second factor"
    template_name = "rudderhub/accounts/second_factor/enrol.html"
    form_class = EnrolForm

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if authenticator_app(_user(request)):
            return HttpResponseRedirect(reverse("mfa_index"))
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: EnrolForm) -> HttpResponse:
        user = _user(self.request)
        super().form_valid(form)
        del self.request.session[PENDING_SECRET]
        use_code(user, form.cleaned_data["code"])  # so that it does not work a second time
        audit.log_action(user.pk, user, "Set up a second factor.")
        _mark_passed(self.request, authenticator_app(user))
        return _codes_page(self.request)

    def get_success_url(self) -> str:
        return reverse("mfa_index")


class NewCodes(Page, GenerateRecoveryCodesView):
    title = "Create new recovery codes?"
    template_name = "rudderhub/base/plain_confirmation.html"
    success_url = reverse_lazy("mfa_index")
    extra_context = {
        "lines": ["Your current codes stop working."],
        "yes": "Create new codes",
        "back": reverse_lazy("mfa_index"),
    }

    def form_valid(self, form: Form) -> HttpResponse:
        super().form_valid(form)
        user = _user(self.request)
        audit.log_action(user.pk, user, "Created new recovery codes.")
        return _codes_page(self.request)


class Remove(Page, DeactivateTOTPView):
    title = "Remove your second factor?"
    template_name = "rudderhub/base/plain_confirmation.html"
    extra_context = {
        "lines": [
            "You can then log in with only your password.",
            "The entry in your authenticator app and your recovery codes stop working.",
        ],
        "yes": "Remove",
        "back": reverse_lazy("mfa_index"),
    }

    def form_valid(self, form: Form) -> HttpResponse:
        response: HttpResponse = super().form_valid(form)
        user = _user(self.request)
        audit.log_action(user.pk, user, "Removed the second factor.")
        messages.success(self.request, "Your second factor is removed.")
        return response


class Code(Page, BaseReauthenticateView):
    """The code after the password at log-in, and before the second factor is changed."""

    title = "Enter a code"
    template_name = "rudderhub/accounts/second_factor/code.html"
    form_class = CodeForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {**super().get_form_kwargs(), "user": self.request.user}

    def form_valid(self, form: CodeForm) -> HttpResponse:
        user = _user(self.request)
        form.save()
        self.request.session.cycle_key()
        _mark_passed(self.request, authenticator_app(user))
        if form.authenticator.type == Authenticator.Type.RECOVERY_CODES:
            self._report_recovery_code(user)
        return super().form_valid(form)

    def _report_recovery_code(self, user: User) -> None:
        left = len(recovery_codes(user))
        audit.log_action(user.pk, user, f"Used a recovery code; {left} left.")
        messages.warning(self.request, f"You used a recovery code; {left} left.")


class Password(Page, ReauthenticateView):
    """The password before a second factor is set up."""

    title = "Enter your password"
    template_name = "rudderhub/accounts/second_factor/password.html"
    form_class = PasswordForm


def _user(request: HttpRequest) -> User:
    """The logged-in user; admin_view admits no other request."""
    if not isinstance(request.user, User):
        raise TypeError(f"{request.user} is no user")
    return request.user


def _mark_passed(request: HttpRequest, app: Authenticator | None) -> None:
    request.session[PASSED] = app.pk if app else None


def _codes_page(request: HttpRequest) -> HttpResponse:
    """The only page that shows the codes: the answer to the request that created them."""
    codes = recovery_codes(_user(request))
    text = "\n".join(["rudderhub recovery codes", *codes, ""])
    context = {"title": "Your recovery codes", "codes": codes, "text": text, "file": quote(text)}
    return TemplateResponse(
        request,
        "rudderhub/accounts/second_factor/codes.html",
        {**admin.site.each_context(request), **context},
    )
