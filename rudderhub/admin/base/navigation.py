"""The settings of unfold: the look of the admin and its navigation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _may_view(model: str) -> Callable[[HttpRequest], bool]:
    app, name = model.split(".")
    return lambda request: request.user.has_perm(f"{app}.view_{name}")


def _everyone(_request: HttpRequest) -> bool:
    """For pages that show each user records of their own."""
    return True


def _item(title: str, icon: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model.replace('.', '_')}_changelist"),
        "permission": _may_view(model),
    }


def _page(title: str, icon: str, name: str, model: str) -> dict[str, Any]:
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(name),
        "permission": _may_view(model),
    }


def _is_people(request: HttpRequest) -> bool:
    return "/admin/people/" in request.path


def _is_rules(request: HttpRequest) -> bool:
    return request.path.endswith("/rules/")


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "rudderhub",
    "SITE_HEADER": "rudderhub",
    "SITE_SUBHEADER": "Customer data on your Postgres",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _: static("rudderhub/icon.svg")}
    ],
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": lambda _: {},  # in colors.css
    "STYLES": [
        lambda _: static("rudderhub/colors.css"),
        lambda _: static("rudderhub/admin.css"),
    ],
    "SCRIPTS": [
        lambda _: static("rudderhub/unfold.js"),
        lambda _: static("rudderhub/admin.js"),
    ],
    "GLOBAL_CALLBACK": "rudderhub.accounts.first_admin.first_visit",
    "DASHBOARD_CALLBACK": "rudderhub.admin.overview.page.overview",
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": reverse_lazy("admin:password_change")},
            {"title": "Second factor", "link": reverse_lazy("mfa_index")},
        ]
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {
                        "title": "Overview",
                        "icon": "monitoring",
                        "link": reverse_lazy("admin:index"),
                    },
                    _item("Live events", "stream", "events.event"),
                ]
            },
            {
                "title": "Flow",
                "separator": True,
                "items": [
                    _item("Sources", "sensors", "sources.source"),
                    _item("Connections", "trending_flat", "destinations.connection"),
                    _item("Destinations", "database", "destinations.destination"),
                    _item("Loads", "local_shipping", "events.load"),
                    _item("Replays", "replay", "events.replay"),
                    _page("Tables", "table", "tables", "destinations.destination"),
                    _page("Discards", "filter_alt_off", "discards", "destinations.destination"),
                ],
            },
            {
                "title": "People",
                "separator": True,
                "items": [
                    {
                        **_page("Profiles", "person_search", "people", "destinations.destination"),
                        "active": lambda request: _is_people(request) and not _is_rules(request),
                    },
                    {
                        **_page(
                            "Merges & rules",
                            "call_merge",
                            "people-first-rules",
                            "destinations.destination",
                        ),
                        "active": lambda request: _is_people(request) and _is_rules(request),
                    },
                    _item("Privacy", "shield_person", "destinations.erasure"),
                    _item("Self-checks", "fact_check", "destinations.identitycheck"),
                    _item("API tokens", "key", "destinations.profiletoken"),
                ],
            },
            {
                "title": "Needs attention",
                "separator": True,
                "items": [
                    _item("Quarantine", "block", "events.quarantined"),
                    _item("Dead letters", "unsubscribe", "events.deadletter"),
                    _item("Losses", "delete_history", "events.loss"),
                ],
            },
            {
                "title": "Team",
                "separator": True,
                "items": [
                    _item("Users", "group", "auth.user"),
                    _item("Roles", "badge", "auth.group"),
                    {**_item("Sessions", "devices", "sessions.session"), "permission": _everyone},
                    _item("Audit log", "history", "admin.logentry"),
                    _page("Settings", "settings_heart", "system", "auth.user"),
                    {
                        "title": "My second factor",
                        "icon": "phonelink_lock",
                        "link": reverse_lazy("mfa_index"),
                    },
                ],
            },
        ],
    },
}
