from __future__ import annotations

from django.contrib import admin
from django.urls import path

from events.admin import people

urlpatterns = [
    path("", admin.site.admin_view(people.search), name="people"),
    path("<int:pk>/rules/", admin.site.admin_view(people.rules), name="people-rules"),
    path("<int:pk>/act/", admin.site.admin_view(people.act), name="people-act"),
    path(
        "<int:pk>/<uuid:rudder_id>/", admin.site.admin_view(people.profile), name="people-profile"
    ),
]
