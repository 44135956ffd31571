"""The addresses of the project: Django's patterns, and routes of exact paths."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from events.gateway.routes import find_event_route
from rudderhub import public_views
from rudderhub.accounts.first_admin import first_admin
from rudderhub.accounts.password import OwnPassword
from rudderhub.admin.data import discards, tables
from rudderhub.admin.live_events.warehouse_trace import warehouse_trace_page
from rudderhub.admin.people import views as people
from rudderhub.admin.settings.system import system
from sources.routing import Route, get, unprefixed_path
from sources.sdk.routes import SDK_ROUTES, find_sdk_route

_ADMIN_PAGES = [
    path(f"admin/{route}", admin.site.admin_view(view), name=name)
    for route, view, name in (
        ("tables/", tables.tables, "tables"),
        ("tables/<int:pk>/<str:schema>/<path:name>/", tables.table, "table"),
        ("discards/", discards.discards, "discards"),
        ("discards/<int:pk>/<str:schema>/export/", discards.discards_csv, "discards_file"),
        ("discards/<int:pk>/<str:schema>/widen/", discards.widen_column, "widen"),
        ("events/event/<int:pk>/in/<int:connection_pk>/", warehouse_trace_page, "warehouse_trace"),
        ("people/", people.search, "people"),
        ("people/rules/", people.first_rules, "people-first-rules"),
        ("people/<int:pk>/rules/", people.rules, "people-rules"),
        ("people/<int:pk>/act/", people.act, "people-act"),
        ("people/<int:pk>/act/<int:change_pk>/", people.change, "people-change"),
        ("people/<int:pk>/<uuid:rudder_id>/", people.profile, "people-profile"),
        ("people/<int:pk>/<uuid:rudder_id>/export/", people.export, "people-export"),
        ("system/", system, "system"),
    )
]
urlpatterns = [
    path("admin/second-factor/", include("rudderhub.accounts.second_factor.urls")),
    *_ADMIN_PAGES,
    path("admin/password_change/", admin.site.admin_view(OwnPassword.as_view())),
    path("admin/", admin.site.urls),
    path("admin/login/", admin.site.login, name="account_login"),  # django-allauth's name for it
    path("api/v1/", include("events.people.api_urls")),
    path("setup/<str:token>/", first_admin, name="setup"),
    re_path("", csrf_exempt(public_views.not_found)),
]

ROUTES: dict[str, Route] = {
    **SDK_ROUTES,
    "/": get(public_views.root),
    "/health": get(public_views.health),
    "/version": get(public_views.version),
    "/robots.txt": get(public_views.robots),
    "/docs": get(public_views.docs),
    "/openapi.yaml": get(public_views.openapi),
}


def find_route(path: str) -> Route | None:
    """The route of an exact path, which needs no login; None for the paths of urlpatterns."""
    route = find_event_route(path)
    if route is None:
        path = unprefixed_path(path)
        route = ROUTES.get(path) or find_sdk_route(path)
    return route
