"""The addresses of the pages about people."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from rudderhub.admin.people import views

urlpatterns = [
    path(route, admin.site.admin_view(view), name=name)
    for route, view, name in (
        ("", views.search, "people"),
        ("rules/", views.first_rules, "people-first-rules"),
        ("<int:pk>/rules/", views.rules, "people-rules"),
        ("<int:pk>/act/", views.act, "people-act"),
        ("<int:pk>/act/<int:change_pk>/", views.change, "people-change"),
        ("<int:pk>/<uuid:rudder_id>/", views.profile, "people-profile"),
        ("<int:pk>/<uuid:rudder_id>/export/", views.export, "people-export"),
    )
]
