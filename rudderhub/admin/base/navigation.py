"""The settings of unfold: names, styles and the navigation of the admin."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _item(title: str, icon: str, model: str, route: str = "") -> dict[str, Any]:
    """A link for users who may view the model, to its list or to the route."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(route or f"admin:{app}_{name}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
    }


def _group(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "items": list(items)}


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
            _group(
                "Flow",
                _item("Sources", "sensors", "sources.source"),
                _item("Connections", "trending_flat", "destinations.connection"),
                _item("Destinations", "database", "destinations.destination"),
                _item("Loads", "local_shipping", "events.load"),
                _item("Replays", "replay", "events.replay"),
                _item("Tables", "table", "destinations.destination", "tables"),
                _item("Discards", "filter_alt_off", "destinations.destination", "discards"),
            ),
            _group(
                "People",
                {
                    **_item("Profiles", "person_search", "destinations.destination", "people"),
                    "active": lambda request: _is_people(request) and not _is_rules(request),
                },
                {
                    **_item(
                        "Merges & rules",
                        "call_merge",
                        "destinations.destination",
                        "people-first-rules",
                    ),
                    "active": lambda request: _is_people(request) and _is_rules(request),
                },
                _item("Privacy", "shield_person", "destinations.erasure"),
                _item("Self-checks", "fact_check", "destinations.identitycheck"),
                _item("API tokens", "key", "destinations.profiletoken"),
            ),
            _group(
                "Needs attention",
                _item("Quarantine", "block", "events.quarantined"),
                _item("Dead letters", "unsubscribe", "events.deadletter"),
                _item("Losses", "delete_history", "events.loss"),
            ),
            _group(
                "Team",
                _item("Users", "group", "auth.user"),
                _item("Roles", "badge", "auth.group"),
                {**_item("Sessions", "devices", "sessions.session"), "permission": lambda _: True},
                _item("Audit log", "history", "admin.logentry"),
                _item("Settings", "settings_heart", "auth.user", "system"),
                {
                    "title": "My second factor",
                    "icon": "phonelink_lock",
                    "link": reverse_lazy("mfa_index"),
                },
            ),
        ],
    },
}
