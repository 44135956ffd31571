from __future__ import annotations

from django.contrib import admin
from django.urls import path

from rudderhub.setup import first_admin

urlpatterns = [
    path("admin/", admin.site.urls),
    path("setup/<str:token>/", first_admin, name="setup"),
]
