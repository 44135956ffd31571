"""Profiles in the admin: find, look, explain, un-merge, erase; and the rules behind them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres import guards, identity, reading, unmerge
from destinations.postgres.explain import explain
from destinations.warehouse.graph import CUT, REFUSED
from events import people
from events.admin.people_actions import ACTIONS, Act

NO_ANSWER = (DestinationError, DestinationUnavailableError, psycopg.Error)
EVENTS = 20


def search(request: HttpRequest) -> HttpResponse:
    """Profiles of a value, or of any id that one had."""
    _need(request, "destinations.view_destination")
    destinations = list(Destination.objects.order_by("name"))
    chosen = request.GET.get("destination", "")
    destination = next((d for d in destinations if str(d.pk) == chosen), None)
    destination = destination or (destinations[0] if destinations else None)
    text = request.GET.get("q", "").strip()
    found: list[reading.ProfileView] = []
    if destination is not None and text:
        try:
            with people.opened(destination) as opened:
                found = reading.find(opened.conn, opened.schema, text)
        except NO_ANSWER as error:
            messages.error(request, str(error))
    return _page(
        request,
        "search",
        "Profiles",
        {"destinations": destinations, "chosen": destination, "text": text, "found": found},
    )


def profile(request: HttpRequest, pk: int, rudder_id: UUID) -> HttpResponse:
    _need(request, "destinations.view_destination")
    destination = get_object_or_404(Destination, pk=pk)
    other = request.GET.get("with", "").strip()
    try:
        with people.opened(destination) as opened:
            context = _profile(opened, rudder_id, other)
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    found = context["profile"]
    title = found.name or found.email or found.user_id or str(found.rudder_id)
    return _page(request, "profile", title, {"destination": destination, "with": other, **context})


def rules(request: HttpRequest, pk: int) -> HttpResponse:
    """The merge log and all that keeps identifiers apart."""
    _need(request, "destinations.view_destination")
    destination = get_object_or_404(Destination, pk=pk)
    context: dict[str, Any] = {"destination": destination}
    try:
        with people.opened(destination) as opened:
            conn, schema = opened.conn, opened.schema
            context |= {
                "options": identity.read_meta(conn, schema).options,
                "rules": guards.rules(conn, schema),
                "hubs": guards.hubs(conn, schema),
                "held": unmerge.listed(conn, schema, REFUSED),
                "cuts": unmerge.listed(conn, schema, CUT),
                "log": reading.merge_log(conn, schema),
            }
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    return _page(request, "rules", f"Merges and rules of {destination}", context)


def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Shows what an action would do; does it when that was confirmed."""
    destination = get_object_or_404(Destination, pk=pk)
    action = ACTIONS.get(request.POST.get("action", ""))
    if request.method != "POST" or action is None:
        raise Http404
    _need(request, action.needs)
    data = {key: value for key, value in request.POST.items() if isinstance(value, str)}
    is_done = "confirm" in data
    back = reverse("people-rules", args=[pk])
    try:
        with people.opened(destination) as opened:
            user = request.user.get_username()
            lines = action.run(Act(destination, opened, data, user, dry_run=not is_done))
    except NO_ANSWER as error:
        messages.error(request, f"{error}.")
        return HttpResponseRedirect(back)
    if is_done:
        user_pk: Any = request.user.pk
        LogEntry.objects.log_actions(
            user_pk, [destination], CHANGE, f"{action.title}.", single_object=True
        )
        messages.success(request, f"{action.title}: done.")
        return HttpResponseRedirect(back)
    held = {k: v for k, v in data.items() if k not in ("csrfmiddlewaretoken", "reason")}
    context = {"destination": destination, "act": action, "lines": lines, "held": held}
    return _page(request, "act", action.title, {**context, "reason": data.get("reason", "")})


def _profile(opened: people.People, rudder_id: UUID, other: str) -> dict[str, Any]:
    conn, schema = opened.conn, opened.schema
    found = reading.find(conn, schema, str(rudder_id))
    if not found:
        raise DestinationError("no profile has or had this id")
    now = found[0].rudder_id
    former = reading.former_ids(conn, schema, now)
    options = identity.read_meta(conn, schema).options
    return {
        "profile": found[0],
        "former": former,
        "traits": reading.traits(conn, schema, now, options.null_clears),
        "identifiers": reading.identifiers(conn, schema, now, 200),
        "links": reading.links(conn, schema, now, 200),
        "events": reading.events(conn, opened.namespaces, [now, *former], None, EVENTS),
        "merges": reading.merge_log(conn, schema, now, EVENTS),
        "steps": explain(conn, schema, str(now), other) if other else [],
    }


def _need(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _page(request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(
        request,
        f"events/people/{name}.html",
        {**admin.site.each_context(request), "title": title, **context},
    )
