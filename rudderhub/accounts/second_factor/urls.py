"""The addresses of the second factor, by the names that django-allauth looks up."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path
from django.views.decorators.debug import sensitive_post_parameters

from rudderhub.accounts.second_factor import views

PAGES = (
    ("", views.Overview, "mfa_index"),
    ("set-up/", views.Enrol, "mfa_activate_totp"),
    ("remove/", views.Remove, "mfa_deactivate_totp"),
    ("new-codes/", views.NewCodes, "mfa_generate_recovery_codes"),
    ("code/", views.Code, "mfa_reauthenticate"),
    ("password/", views.Password, "account_reauthenticate"),
)
urlpatterns = [
    path(route, sensitive_post_parameters()(admin.site.admin_view(view.as_view())), name=name)
    for route, view, name in PAGES
]
