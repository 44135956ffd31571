"""Every page of the admin as a request: from the URL patterns, with searches, filters and previews.

A pattern with a parameter needs a sample; one that has none stops the bench.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from destinations.models import Connection, Destination, IdentityChange
from destinations.postgres.reads import profiles
from destinations.warehouse.rows.schema import DISCARDS
from events.models import DeadLetter, Event, LetterState, Quarantined
from events.people import store
from rudderhub.accounts.second_factor.codes import authenticator_app
from rudderhub.accounts.second_factor.middleware import PASSED
from rudderhub.accounts.second_factor.totp import new_secret
from rudderhub.admin.overview.page import PERIODS
from sources.models import Source
from tests.bench import api
from tests.support.wait import wait_for

NO_PAGES = {
    "admin:login",
    "admin:logout",
    "admin:jsi18n",
    "admin:autocomplete",
    "admin:view_on_site",
    "admin:app_list",
    "account_login",
    "discards_file",  # a download
    "people-export",
    "people-act",  # its previews are posted
    "people-change",  # what was posted leads to it
}
CHOICES = 4
"""Of a filter: the first stands for all, the others for each."""
BUSIEST = "user-0"
"""Of the people that api.make makes."""


class Page(NamedTuple):
    path: str
    query: dict[str, Any] = {}
    posted: dict[str, Any] | None = None

    def __str__(self) -> str:
        given = self.query if self.posted is None else self.posted
        named = [f"{name}={value}" for name, value in given.items()]
        sent = "" if self.posted is None else "POST "
        return f"{sent}{self.path} {' '.join(named)}"[:100]


SET_UP = Page("/admin/second-factor/set-up/")
"""Not for who has one."""


def clients() -> tuple[Client, Client]:
    """A user without a second factor, and an admin who has passed it."""
    newcomer, admin = (Client(SERVER_NAME="localhost") for _ in range(2))
    newcomer.force_login(User.objects.filter(is_superuser=False)[0])
    user = User.objects.get(is_superuser=True)
    admin.force_login(user)
    secret = {"secret": get_adapter().encrypt(new_secret())}
    kind = Authenticator.Type.TOTP
    app = authenticator_app(user) or Authenticator.objects.create(user=user, type=kind, data=secret)
    session = admin.session
    session[PASSED] = app.pk
    session.save()
    return newcomer, admin


def pages(client) -> Iterator[Page]:
    for name, route in _routes(get_resolver().url_patterns):
        if name not in NO_PAGES:
            path = reverse(name, kwargs=_sample(name, route))
            yield Page(path)
            if name.endswith("_changelist"):
                yield from _choices(client, path)
    yield from _asked()
    yield from _previews(client)


def _routes(patterns, space="", prefix="") -> Iterator[tuple[str, Any]]:
    """The names of what stands under admin/, with their patterns."""
    for each in patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLPattern):
            if each.name and route.startswith("admin/"):
                yield space + each.name, each.pattern
        elif "admin/".startswith(route) or route.startswith("admin/"):
            yield from _routes(
                each.url_patterns, f"{each.namespace}:" if each.namespace else space, route
            )


def _sample(name: str, route: Any) -> dict[str, Any]:
    if not route.converters:
        return {}
    special = _samples().get(name)
    if special:
        return special
    model = _model(name)
    newest = model._default_manager.order_by("-pk").values_list("pk", flat=True).first()  # noqa: SLF001
    (parameter,) = route.converters
    return {parameter: newest or 1}


def _model(name: str) -> Any:
    app, model, _ = name.removeprefix("admin:").split("_", 2)
    return apps.get_model(app, model)


@cache
def _samples() -> dict[str, dict[str, Any]]:
    destination = Destination.objects.get()
    source = Source.objects.order_by("pk")[0]
    key = source.write_keys.first() or source.write_keys.create()
    keys = {"source_pk": source.pk, "key_pk": key.pk}
    loaded = _loaded_track()
    return {
        "people-rules": {"pk": destination.pk},
        "people-profile": {"pk": destination.pk, "rudder_id": _rudder_id(BUSIEST)},
        "table": {"pk": destination.pk, "schema": api.EVENTS, "name": "tracks"},
        "widen": {"pk": destination.pk, "schema": api.EVENTS},
        "warehouse_trace": {"pk": loaded.pk, "connection_pk": loaded.source.connections.get().pk},
        "admin:events_event_change": {"object_id": loaded.pk},
        "admin:events_deadletter_act": {
            "pk": _letter().pk,
            "name": "rerun",
            "reach": "alike",
        },
        "admin:sources_writekey_add": {"source_pk": source.pk},
        "admin:sources_writekey_rotate": keys,
        "admin:sources_writekey_revoke": keys,
        "admin:auth_user_password_change": {"id": source.pk},
    }


def _loaded_track() -> Event:
    source = Connection.objects.get(namespace=api.EVENTS).source
    return Event.objects.filter(source=source, type="track").order_by("pk")[0]


def _letter() -> DeadLetter:
    return DeadLetter.objects.filter(state=LetterState.OPEN)[0]


@cache
def _rudder_id(value: str) -> Any:
    with store.connect(Destination.objects.get()) as opened:
        return profiles.find_profiles(opened.conn, opened.schema, value)[0].rudder_id


def _choices(client, path) -> Iterator[Page]:
    """A list by each choice of each filter, by each column, and its last page."""
    found = client.get(path).context_data["cl"]
    for spec in found.filter_specs:
        for choice in islice(spec.choices(found), CHOICES):
            query = choice.get("query_string", "?").removeprefix("?")
            if query:
                yield Page(f"{path}?{query}")
    if found.search_fields:
        yield from (Page(path, {"q": text}) for text in ("shop", "nobody-has-this"))
    if found.multi_page:
        yield Page(path, {"p": found.paginator.num_pages})
    yield from (
        Page(path, {"o": f"{sign}{number}"})
        for number in found.get_ordering_field_columns() or ()
        for sign in ("", "-")
    )


def _asked() -> Iterator[Page]:
    event = Event.objects.order_by("-pk")[0]
    for name in PERIODS:
        yield Page("/admin/", {"range": name})
        yield Page("/admin/", {"range": name, "source": event.source_id})
    live = reverse("admin:events_event_changelist")
    texts = (event.message_id, event.user_id, event.anonymous_id, "Event 9", "3.29", "nobody")
    yield from (Page(live, {"q": text}) for text in texts)
    yield Page(live, {"before": event.pk // 2})
    yield Page(live, {"before": event.pk // 2, "q": "nobody"})
    for state in LetterState:
        for letter in DeadLetter.objects.filter(state=state)[:1]:
            found = Event.objects.get(pk=letter.event_id)
            yield Page(reverse("admin:events_event_change", args=[found.pk]))
            yield Page(reverse("admin:events_deadletter_change", args=[letter.pk]))
    yield Page(reverse("admin:events_event_change", args=[event.pk]))
    yield from _asked_of_people()
    yield from _asked_of_tables()


def _asked_of_people() -> Iterator[Page]:
    people = reverse("people")
    for text in (BUSIEST, "phone-77", "nobody", str(_rudder_id("user-large"))):
        yield Page(people, {"q": text})
    pk = Destination.objects.get().pk
    large = reverse("people-profile", args=[pk, _rudder_id("user-large")])
    yield Page(large)
    yield Page(large, {"from": "device-4", "with": "device-4711"})
    busy = reverse("people-profile", args=[pk, _rudder_id(BUSIEST)])
    yield Page(busy, {"before": "2026-01-20T00:00:00+00:00", "after_id": "track-1"})


def _asked_of_tables() -> Iterator[Page]:
    pk = Destination.objects.get().pk
    table = reverse("table", args=[pk, api.EVENTS, "tracks"])
    yield Page(table, {"id": "track-1000000"})
    yield Page(reverse("table", args=[pk, api.EVENTS, DISCARDS]))
    yield Page(reverse("table", args=[pk, "shop_2", "event_1"]))
    yield Page(reverse("discards"), {"q": "property_7"})
    widen = reverse("widen", args=[pk, api.EVENTS])
    yield Page(widen, {"table": "tracks", "column": "property_7"})


def _previews(client) -> Iterator[Page]:
    """What would happen: each is asked for, none is confirmed."""
    for value in (BUSIEST, "user-large"):
        profile = str(_rudder_id(value))
        yield from _counted(client, action="erase", profile=profile, value=value)
    yield from _counted(client, action="add_rule", exact="phone-77")
    yield from _counted(client, action="limits", hub_limit="12", size_limit="6000")
    for model, name in ((Quarantined, "discard"), (Quarantined, "send_again")):
        yield _whole(model, name)
    yield from (_whole(DeadLetter, name) for name in ("rerun", "discard"))


def _counted(client, **posted) -> Iterator[Page]:
    """The asking, and the page with what a worker has counted."""
    asking = Page(reverse("people-act", args=[Destination.objects.get().pk]), posted=posted)
    yield asking
    answer = client.post(asking.path, posted)
    wait_for(lambda: not IdentityChange.objects.awaiting_worker().exists(), 120)
    yield Page(answer.url)


def _whole(model: Any, action: str) -> Page:
    """An action on all rows of a list."""
    options = model._meta  # noqa: SLF001
    path = reverse(f"admin:{options.app_label}_{options.model_name}_changelist")
    first = model.objects.values_list("pk", flat=True)[0]
    posted = {"action": action, "select_across": "1", "_selected_action": [first], "index": "0"}
    return Page(path, posted=posted)
