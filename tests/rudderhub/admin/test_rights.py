"""The rights of each role: users of all roles try each page and action, as in the manual."""

from __future__ import annotations

from collections import defaultdict
from importlib import import_module

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.template.response import SimpleTemplateResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from destinations.models import Erasure, IdentityCheck, ProfileToken
from events.log import writer
from events.models import Load, Loss, Replay
from events.people import store
from events.people.actions import ACTIONS
from events.workers import queue
from rudderhub.env import ROOT
from tests.support.admin_pages import routes
from tests.support.factories import make_connection, make_event, make_source, make_write_key

pytestmark = pytest.mark.django_db(transaction=True)  # what is sent to the log is committed


@pytest.fixture(autouse=True)
def _quick(transactional_db, monkeypatch):
    """Tests whether pages open, not their contents."""
    monkeypatch.setattr(SimpleTemplateResponse, "rendered_content", "")
    for config in apps.get_app_configs():
        monkeypatch.setattr(config, "models_module", config.models_module)  # make_roles clears it
    import_module("rudderhub.migrations.0001_roles").make_roles(apps, None)  # flushed by others
    yield
    store.close_pooled()
    writer.close_writer()
    queue.close_enqueuer()


ROLES = ("Admin", "Source manager", "Analyst", "Privacy officer", "Read-only")
VIEWED = (
    *("sources_source", "destinations_connection", "destinations_destination"),
    *("destinations_erasure", "destinations_identitycheck", "destinations_profiletoken"),
    *("events_event", "events_load", "events_loss", "events_replay"),
    *("events_quarantined", "events_deadletter"),
)
KEYS = ("add", "rotate", "revoke")


def route_names(model, *names):
    return [f"admin:{model}_{name}" for name in names]


RIGHTS = {
    "View events, flow, people and what needs attention": [
        *(
            each
            for model in VIEWED
            for each in route_names(model, "changelist", "change", "history")
        ),
        *(
            "tables",
            "table",
            "discards",
            "warehouse_trace",
            "people",
            "people-first-rules",
            "people-rules",
        ),
        *("people-profile", "admin:events_event_state", "admin:events_event_curl"),
        "admin:destinations_connection_state",
    ],
    "See personal data; export people and discards": ["people-export", "discards_file"],
    "Export refused requests": ["events.quarantined: export"],
    "Add, change, enable and disable sources; add, rotate and revoke write keys": [
        *route_names("sources_source", "add", "change POST", "test"),
        *route_names("sources_writekey", *KEYS),
        *("sources.source: enable", "sources.source: disable"),
    ],
    "Add, change and pause connections; load and replay": [
        *route_names("destinations_connection", "add", "change POST", "load", "replay"),
        *("admin:events_replay_cancel", "destinations.connection: load_now"),
        *("destinations.connection: enable", "destinations.connection: pause"),
    ],
    "Re-run and discard dead letters": [
        "admin:events_deadletter_act",
        *("events.deadletter: rerun", "events.deadletter: discard"),
    ],
    "Discard refused requests": ["admin:events_quarantined_discard", "events.quarantined: discard"],
    "Send refused requests again": [
        *("admin:events_quarantined_send_again", "events.quarantined: send_again"),
    ],
    "Add, change, test and load destinations; create ready-made views; widen columns": [
        *route_names("destinations_destination", "add", "change POST", "check", "load", "views"),
        "widen",
        *(
            f"destinations.destination: {name}"
            for name in ("test_connection", "load_now", "enable", "disable")
        ),
    ],
    "Cut and restore links; change rules and limits of identities": [
        f"people: {name}" for name in ACTIONS if name != "erase"
    ],
    "Erase people": ["people: erase"],
    "Create, revoke and delete API tokens": [
        *route_names("destinations_profiletoken", "add", "delete"),
        *("destinations.profiletoken: revoke", "destinations.profiletoken: delete_selected"),
    ],
    "Delete sources, connections and destinations": [
        *route_names("sources_source", "delete"),
        *route_names("destinations_connection", "delete"),
        *route_names("destinations_destination", "delete"),
        *("sources.source: delete_selected", "destinations.connection: delete_selected"),
        "destinations.destination: delete_selected",
    ],
    "Read the audit log": route_names("admin_logentry", "changelist", "change"),
    "See and change users and roles; reset a second factor; see **Settings**": [
        *route_names(
            "auth_user", "changelist", "add", "change", "change POST", "delete", "history"
        ),
        *route_names("auth_user", "password_change", "reset_second_factor"),
        *route_names(
            "auth_group", "changelist", "add", "change", "change POST", "delete", "history"
        ),
        *("auth.user: delete_selected", "auth.group: delete_selected", "system"),
    ],
    "See and end everybody's sessions": route_names(
        "sessions_session", "change", "delete", "history"
    ),
    "Change one's own password and second factor; see and end one's own sessions": [
        *("admin:index", "admin:password_change", "admin:sessions_session_changelist"),
        "sessions.session: delete_selected",
        *("mfa_index", "mfa_activate_totp", "mfa_generate_recovery_codes"),
    ],
}
NOBODY = "Change or delete an event, a load, a request to erase or an entry of the audit log"
HARMLESS = {
    *("admin:password_change_done", "admin:search", "admin:autocomplete", "admin:jsi18n"),
    *("admin:view_on_site", "admin:app_list", "people-act", "people-change"),
    *("mfa_deactivate_totp", "mfa_reauthenticate", "account_reauthenticate"),
    "admin:admin_logentry_history",
}
"""They show nothing of an instance, or lead to what does."""


def one_of_everything():
    source = make_source()
    make_write_key(source)
    connection = make_connection(source, namespace="shop")
    make_event(source)
    source.quarantined.create(route="/v1/track", status=400, reason="r", body=b"{}", body_bytes=2)
    connection.dead_letters.create(event_id=1, message_id="m", reason="r", payload="{}")
    Replay.objects.create(connection=connection, after_id=0, upto_id=1, position=0, expected=1)
    Load.objects.create(connection=connection, after_id=0, upto_id=1)
    Loss.objects.create(
        connection=connection, day="2026-01-01", events=1, first_id=1, last_id=1, reason="r"
    )
    destination = connection.destination
    IdentityCheck.objects.create(destination=destination, differences=[])
    Erasure.objects.create(destination=destination, actor="ada", keys=[], held={}, mode="delete")
    ProfileToken.objects.create(destination=destination, name="app", digest="d" * 64)
    target = User.objects.create_user("target", is_staff=True)
    Client().force_login(target)
    Authenticator.objects.create(user=target, type=Authenticator.Type.TOTP, data={})
    LogEntry.objects.log_actions(target.pk, [target], CHANGE, "Viewed personal data.")


def member(role):
    """The user of a role, created at the first call."""
    user, is_new = User.objects.get_or_create(username=role, defaults={"is_staff": True})
    if is_new:
        user.groups.add(Group.objects.get(name=role))
    return user


def path_of(name, route):
    model = model_of(name)
    given = {
        "schema": "shop",
        "rudder_id": "00000000-0000-4000-8000-000000000001",
        "name": "rerun",
        "reach": "one",
        "app_label": "events",
        "content_type_id": 1,
        "change_pk": 1,
        "key_pk": pk_of("sources", "writekey"),
        "connection_pk": pk_of("destinations", "connection"),
    }
    of_model = pk_of(*model) if model else pk_of("destinations", "destination")
    given |= {"pk": of_model, "object_id": of_model, "id": of_model}
    if name == "warehouse_trace":
        given["pk"] = pk_of("events", "event")
    if "sources_writekey" in name:
        given["pk"] = pk_of("sources", "source")
    names = set(route.converters) or set(route.regex.groupindex)
    return reverse(name, kwargs={each: given[each] for each in names})


def model_of(name):
    """The app and model of a page's name: auth and user of admin:auth_user_change."""
    app, model, *rest = [*name.partition("admin:")[2].split("_"), ""]
    return (app, model) if rest and app in apps.app_configs else None


def pk_of(app, model):
    if model == "user":
        return User.objects.get(username="target").pk
    if model == "session":
        return next(s.pk for s in Session.objects.all() if "target" in _user(s))
    return apps.get_model(app, model).objects.order_by("pk").values_list("pk", flat=True)[0]


def _user(session):
    return User.objects.get(pk=session.get_decoded()["_auth_user_id"]).username


PATHS = dict(routes())


def is_allowed(client, user, what):
    """Whether the page opens, the form is accepted, or the action is offered."""
    if what.startswith("people: "):
        path = reverse("people-act", args=[pk_of("destinations", "destination")])
        return client.post(path, {"action": what.removeprefix("people: ")}).status_code != 403
    if ": " in what:
        model, action = what.split(": ")
        request = RequestFactory().get("/")
        request.user = user
        return action in admin.site.get_model_admin(apps.get_model(model)).get_actions(request)
    name, _, method = what.partition(" ")
    path = path_of(name, PATHS[name])
    answer = client.post(path) if method else client.get(path)
    if answer.status_code == 405:
        answer = client.post(path)
    assert answer.status_code != 404, path  # a wrong address would pass for a right
    return answer.status_code != 403 and getattr(answer, "url", "") != "/admin/"


def manual_rights():
    """The table of the manual: the roles with a right, by right."""
    text = (ROOT / "docs/how-to/users.md").read_text(encoding="utf-8")
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line] for line in lines]
    return {
        what: {role for role, cell in zip(head[1:], cells, strict=True) if cell == "yes"}
        for what, *cells in rows
    }


def test_the_manual_lists_exactly_what_each_role_can_do():
    one_of_everything()
    rights = {what: set() for what in RIGHTS}
    partly = defaultdict(dict)

    for role in ROLES:
        user, client = member(role), Client(raise_request_exception=False)
        client.force_login(user)
        for what, asked in RIGHTS.items():
            answers = {name: is_allowed(client, user, name) for name in asked}
            if all(answers.values()):
                rights[what].add(role)
            elif any(answers.values()):
                partly[role][what] = answers

    assert partly == {}
    assert rights | {NOBODY: set()} == manual_rights()


def test_each_page_and_each_action_has_a_place_in_the_manual():
    asked = {each.partition(" POST")[0] for all_of in RIGHTS.values() for each in all_of}
    request = RequestFactory().get("/")
    request.user = User.objects.create_superuser("ada")
    actions = {
        f"{model_admin.opts.label_lower}: {name}"
        for model_admin in admin.site._registry.values()  # noqa: SLF001
        for name in model_admin.get_actions(request)
    }

    assert {each for each in {*PATHS, *actions} - asked - HARMLESS if not is_closed(each)} == set()
    assert asked - {*PATHS, *actions} == {f"people: {name}" for name in ACTIONS}


def is_closed(name):
    """Whether not even a superuser adds or deletes there."""
    request = RequestFactory().get("/")
    request.user = User.objects.get(username="ada")
    of_model = admin.site.get_model_admin(apps.get_model(*model_of(name)))
    if name.endswith("_add"):
        return not of_model.has_add_permission(request)
    return name.endswith("_delete") and not of_model.has_delete_permission(request)


def rows():
    """All that is stored, but who is logged in and who looked."""
    models = [each for each in apps.get_models() if each not in (Session, LogEntry)]
    return {model: list(model.objects.order_by("pk").values()) for model in models}


@pytest.mark.parametrize("role", ["Read-only", "Analyst"])
def test_a_user_who_may_only_view_changes_nothing_with_any_post(client, role):
    one_of_everything()
    client.force_login(member(role))
    client.raise_request_exception = False
    before = rows()
    forms = [{}, {"post": "yes", "confirm": "1", "note": "n", "action": "erase", "_save": "1"}]

    answers = {
        client.post(path_of(name, route), form).status_code
        for name, route in PATHS.items()
        for form in forms
    }

    assert rows() == before
    assert answers <= {200, 302, 400, 403, 404, 405, 503}
