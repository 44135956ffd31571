from __future__ import annotations

from django.conf import settings
from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

import events.urls
import sources.urls
from rudderhub import health
from rudderhub.setup import first_admin
from sources.routing import Route, get

urlpatterns = [
    path("admin/people/", include("events.admin.people_urls")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("events.api_urls")),
    path("setup/<str:token>/", first_admin, name="setup"),
    re_path("", csrf_exempt(health.not_found)),
]

ROUTES: dict[str, Route] = {
    **events.urls.PUBLIC_ROUTES,
    **sources.urls.ROUTES,
    "/": get(health.root),
    "/health": get(health.health),
    "/version": get(health.version),
    "/robots.txt": get(health.robots),
    "/docs": get(health.docs),
    "/openapi.yaml": get(health.openapi),
}


def find_route(path: str) -> Route | None:
    """The route of an exact path that needs no login; everything else goes Django's way."""
    if settings.PATH_PREFIX and path.startswith(f"{settings.PATH_PREFIX}/"):
        path = path.removeprefix(settings.PATH_PREFIX)
    if path.startswith("/internal/") and settings.INTERNAL_ROUTES:
        return events.urls.INTERNAL_ROUTES.get(path)
    return ROUTES.get(path) or sources.urls.pattern_route(path)
