"""The addresses of the pages about people."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from events.admin import people

urlpatterns = [
    path(route, admin.site.admin_view(view), name=name)
    for route, view, name in (
        ("", people.search, "people"),
        ("rules/", people.first_rules, "people-first-rules"),
        ("<int:pk>/rules/", people.rules, "people-rules"),
        ("<int:pk>/act/", people.act, "people-act"),
        ("<int:pk>/act/<int:change_pk>/", people.change, "people-change"),
        ("<int:pk>/<uuid:rudder_id>/", people.profile, "people-profile"),
        ("<int:pk>/<uuid:rudder_id>/export/", people.export, "people-export"),
    )
]
