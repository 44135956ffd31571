"""Every page of the admin as a request, over data with marked personal values."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse
from django.utils import timezone

from destinations.models import Connection, Erasure, IdentityChange, IdentityCheck
from destinations.postgres.operations import guards, unmerge
from destinations.postgres.reads import profiles as reads_profiles
from events.gateway import recent_requests
from events.models import DeadLetter, Event, Loss, Replay
from events.people import erasure as people_erasure
from events.people import store
from events.workers.errors import fingerprint
from sources import snapshot
from tests.support.factories import make_write_key
from tests.support.identity_graph import anonymous, user
from tests.support.people import Hub, advance_changes

MARK, ADDRESS = "xq7z", "203.0.113.199"
MARKS = (MARK, ADDRESS)
TAG = "<evil"
"""The beginning of every value that a sender can choose; no page may render it as a tag."""


def mark(name: str) -> str:
    return f"{TAG} {MARK} {name}>'\"`{{{{"


class Page(NamedTuple):
    name: str
    path: str
    posted: tuple[tuple[str, str], ...] | None = None

    def __str__(self) -> str:
        return f"{self.name} {self.path} {dict(self.posted or ())}"


def make_marked(warehouse, warehouse_url) -> Hub:
    """A record of every kind that a page can show."""
    hub = Hub(warehouse, warehouse_url, {"blocked": True})
    connection = hub.connection("web")
    key = make_write_key(connection.source)
    snapshot.reset_snapshot()  # of tests before
    for event in _events():
        _send(key, event)
    hub.run_loads()
    _send(key, _track(9, properties={"n": mark("discard")}))
    hub.run_loads()
    _send(key, {"type": "track", "userId": mark("refused"), "event": ""}, status=400)
    recent_requests.close_keeper()  # all are kept now
    _refuse(connection)
    _kill(connection)
    _operate(hub)
    Loss.objects.create(
        connection=connection, day=timezone.now(), events=1, first_id=1, last_id=1, reason="old"
    )
    Replay.objects.create(connection=connection, after_id=0, upto_id=1, position=0, expected=1)
    IdentityCheck.objects.create(destination=hub.destination, differences=["group: 1 of 2"])
    return hub


def _events() -> Iterator[dict[str, Any]]:
    who = {"userId": mark("user"), "anonymousId": mark("device")}
    traits = {
        "email": mark("email"),
        "name": mark("name"),
        "address": {"type": mark("nested type"), "event": [mark("nested")], "channel": mark("way")},
        f"{TAG} key>": mark("under a key"),
    }
    yield {"type": "identify", "messageId": f"{TAG} m1>", **who, "traits": traits, **_context()}
    yield _track(2, properties={"n": 1, "type": mark("property"), "event": mark("property")})
    yield {**_track(3), "anonymousId": mark("device"), "userId": mark("other")}
    yield {"type": "alias", "messageId": "m4", "userId": mark("user"), "previousId": mark("past")}
    yield {"type": "page", "messageId": "m5", **who, "properties": {"url": mark("url")}}


def _context() -> dict[str, Any]:
    library = {"name": f"{TAG} sdk>", "version": f"{TAG} 1>"}
    return {"context": {"library": library, "userAgent": mark("agent"), "ip": ADDRESS}}


def _track(number: int, **more: Any) -> dict[str, Any]:
    return {
        "type": "track",
        "event": f"{TAG} Bought>",
        "messageId": f"m{number}",
        "userId": mark("user"),
        "properties": {},
        **more,
    }


def _send(key: Any, event: dict[str, Any], status: int = 200) -> None:
    response = Client().post(
        f"/v1/{event['type']}?from={MARK}",
        json.dumps(event),
        content_type="application/json",
        HTTP_AUTHORIZATION="Basic " + base64.b64encode(f"{key.key}:".encode()).decode(),
        HTTP_X_FORWARDED_FOR=ADDRESS,
        HTTP_USER_AGENT=mark("agent"),
        HTTP_REFERER=f"https://shop.example/{MARK}",
    )
    assert response.status_code == status, response.content


def _refuse(connection: Connection) -> None:
    """Store a refused request with values in its reason, which no check of today puts there."""
    body = json.dumps({"type": mark("type"), "event": {"a": mark("event")}, "is_ill": True})
    connection.source.quarantined.create(
        route="/v1/track",
        status=400,
        reason=f'type is "{mark("reason")}"',
        body=body.encode(),
        body_bytes=len(body),
        circumstances={"address": ADDRESS},
    )


def _kill(connection: Connection) -> None:
    event = Event.objects.get(message_id="m2")
    reason = f'invalid input: "{mark("reason")}" DETAIL: Key (email)=({MARK}@x.example) is there.'
    DeadLetter.objects.create(
        connection=connection,
        event_id=event.pk,
        message_id=event.message_id,
        reason=reason,
        kind=fingerprint(reason),
        payload=event.payload,
    )


def _operate(hub: Hub) -> None:
    """Store a cut, a rule and an erasure."""
    pair = (anonymous(mark("device")), user(mark("other")))
    with store.connect(hub.destination) as identities:
        with identities.operation("ada") as op:
            unmerge.unmerge_links(op, [pair], mark("cut"))
        with identities.operation("ada") as op:
            guards.add_rule(op, exact=mark("rule"))
        erasure = people_erasure.request(
            hub.destination, identities, [user(mark("past"))], actor="ada", reason=mark("erasure")
        )
    Erasure.objects.filter(pk=erasure.pk).update(error=f'"{mark("error")}"')


def pages(hub: Hub) -> list[Page]:
    """All pages: first views, then queries and posts."""
    return [*looks(hub), *_asked(hub), *_posted(hub)]


def looks(hub: Hub) -> Iterator[Page]:
    for name, route in routes():
        for arguments in _arguments(hub, name, route):
            yield Page(name, reverse(name, kwargs=arguments))


def routes() -> list[tuple[str, Any]]:
    """The names and patterns of all addresses below admin/, without BORDERS."""
    return [
        (name, pattern)
        for name, pattern in _routes(get_resolver().url_patterns)
        if name not in BORDERS
    ]


BORDERS = {"admin:login", "admin:logout", "account_login"}
"""The pages that begin or end a session."""


def _routes(patterns: Any, space: str = "", prefix: str = "") -> Iterator[tuple[str, Any]]:
    for each in patterns:
        route = prefix + str(each.pattern)
        if isinstance(each, URLPattern):
            if each.name and route.startswith("admin/"):
                yield space + each.name, each.pattern
        elif "admin/".startswith(route) or route.startswith("admin/"):
            space_of = f"{each.namespace}:" if each.namespace else space
            yield from _routes(each.url_patterns, space_of, route)


def _arguments(hub: Hub, name: str, route: Any) -> list[dict[str, Any]]:
    """The arguments of a page: those of _special, else the keys of its model's first records."""
    names = set(route.converters) or set(route.regex.groupindex)
    if not names:
        return [{}]
    special = _special(hub).get(name)
    if special is not None:
        return special
    (argument,) = names
    app, model, _ = name.removeprefix("admin:").split("_", 2)
    rows = apps.get_model(app, model).objects.order_by("pk").values_list("pk", flat=True)
    return [{argument: pk} for pk in rows[: 9 if app == "events" else 1]]


def _special(hub: Hub) -> dict[str, list[dict[str, Any]]]:
    pk, source = hub.destination.pk, hub.connection("web").source
    schema = hub.connection("web").namespace
    in_schema = {"pk": pk, "schema": schema}
    tables = hub.rows(
        f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"  # noqa: S608
    )
    key = {"pk": source.pk, "key_pk": source.write_keys.get().pk}
    found = reads_profiles.newest_profiles(hub.conn, hub.schema)
    profiles = [{"pk": pk, "rudder_id": each.rudder_id} for each in found]
    letter = DeadLetter.objects.get()
    return {
        "people-rules": [{"pk": pk}],
        "people-act": [{"pk": pk}],
        "people-change": [{"pk": pk, "change_pk": 1}],
        "people-profile": profiles,
        "people-export": profiles,
        "table": [in_schema | {"name": name} for (name,) in tables],
        "discards_file": [in_schema],
        "widen": [in_schema],
        "warehouse_trace": [
            {"pk": event.pk, "connection_pk": hub.connection("web").pk}
            for event in Event.objects.all()
        ],
        "admin:events_deadletter_act": [
            {"pk": letter.pk, "name": name, "reach": reach}
            for name in ("rerun", "discard")
            for reach in ("one", "alike")
        ],
        "admin:sources_writekey_add": [{"pk": source.pk}],
        "admin:sources_writekey_rotate": [key],
        "admin:sources_writekey_revoke": [key],
        "admin:app_list": [{"app_label": name} for name in ("sources", "events", "auth")],
        "admin:view_on_site": [{"content_type_id": 1, "object_id": 1}],
    }


def _asked(hub: Hub) -> Iterator[Page]:
    """Lists with searches and filters, and an explained profile."""
    for page in looks(hub):
        if page.name.startswith("admin:events_") and page.name.endswith("_changelist"):
            yield from (Page(page.name, page.path + query) for query in ("?q=a", "?state=all"))
    asked = {"pk": hub.destination.pk, "rudder_id": hub.profile(mark("user"))}
    query = urlencode({"with": hub.profile(mark("other"))})
    yield Page("people-profile", f"{reverse('people-profile', kwargs=asked)}?{query}")


def _posted(hub: Hub) -> Iterator[Page]:
    firsts = {page.name: page for page in reversed(list(looks(hub)))}
    for page in firsts.values():
        if page.name.endswith("_changelist"):
            yield from _actions(page)
        elif not page.name.endswith(("_add", "_change", "_delete", "_history")):
            yield page._replace(posted=())
    act = reverse("people-act", args=[hub.destination.pk])
    yield from (Page("people-act", act, tuple(each.items())) for each in _previews(hub))


def _actions(page: Page) -> Iterator[Page]:
    app, model = page.name.removeprefix("admin:").split("_")[:2]
    model = apps.get_model(app, model)
    rows = tuple(("_selected_action", str(pk)) for pk in model.objects.values_list("pk", flat=True))
    names = admin.site.get_model_admin(model).actions or ()
    yield from (page._replace(posted=(("action", name), *rows)) for name in names)


def _previews(hub: Hub) -> Iterator[dict[str, str]]:
    ann, past = user(mark("user")), user(mark("past"))
    device, other = anonymous(mark("device")), user(mark("other"))
    yield {"action": "cut", "identifier": str(hub.key(ann))}
    yield {"action": "cut", "link": f"{hub.key(ann)} {hub.key(past)}"}
    yield {"action": "cut", "message": "m4"}
    yield {"action": "undo", "link": f"{hub.key(device)} {hub.key(other)}"}
    yield {"action": "erase", "identifier": str(hub.key(ann))}
    yield {"action": "erase", "value": str(hub.profile(ann.value))}
    yield {"action": "add_rule", "pattern": "[a-z]+"}
    yield {"action": "limits", "hub_limit": "1", "size_limit": "2"}


def changes() -> Iterator[Page]:
    """The pages of the requested changes, after a worker has counted their effect."""
    advance_changes()
    for pk, destination_pk in IdentityChange.objects.values_list("pk", "destination_id"):
        yield Page("people-change", reverse("people-change", args=[destination_pk, pk]))


def shown(client: Client, page: Page) -> str:
    """The text and headers of an answer and of the page that it redirects to."""
    if page.posted is None:
        response = client.get(page.path, follow=True)
    else:
        given: dict[str, list[str]] = {}
        for name, value in page.posted:
            given.setdefault(name, []).append(value)
        response = client.post(page.path, given, follow=True)
    assert response.status_code < 500, page
    body = b"".join(response) if response.streaming else response.content
    return f"{body.decode(errors='replace')} {response.headers} {response.redirect_chain}"
