"""Profiles in the admin: find, look, explain, un-merge, erase; and the rules behind them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import psycopg
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from kombu.exceptions import OperationalError

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination, Erasure
from events import people, rings
from events.admin.people_actions import ACTIONS, SHOWN, Act, Action, Effect
from events.admin.people_shown import Before, PeoplePages
from events.exports import profile_export
from events.masking import PERMISSION

NO_ANSWER = (DestinationError, DestinationUnavailableError, psycopg.Error)
VIEW = "destinations.view_destination"
NOT_HELD = ("csrfmiddlewaretoken", "reason", "confirm")


def search(request: HttpRequest) -> HttpResponse:
    """Profiles of a value, or of any id that one had; the newest until somebody asks."""
    _need(request, VIEW)
    destinations = list(Destination.objects.order_by("name"))
    chosen = request.GET.get("destination", "")
    destination = next((d for d in destinations if str(d.pk) == chosen), None)
    destination = destination or (destinations[0] if destinations else None)
    text = request.GET.get("q", "").strip()
    context: dict[str, Any] = {"destinations": destinations, "chosen": destination, "text": text}
    if destination is not None:
        try:
            with people.opened(destination) as opened:
                context["found"] = PeoplePages(opened, sees=_sees(request)).found(text)
        except NO_ANSWER as error:
            messages.error(request, str(error))
        if context.get("found"):
            _note_look(request, destination, "Looked at a list of profiles.")
    return _page(request, "search", "Profiles", context)


def profile(request: HttpRequest, pk: int, rudder_id: UUID) -> HttpResponse:
    _need(request, VIEW)
    destination = get_object_or_404(Destination, pk=pk)
    ends = request.GET.get("from", "").strip(), request.GET.get("with", "").strip()
    try:
        with people.opened(destination) as opened:
            pages = PeoplePages(opened, sees=_sees(request))
            context = pages.profile(rudder_id, ends, Before.of(request.GET.dict()))
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    found = context["profile"]
    _note_look(request, destination, f"Looked at the profile {found.rudder_id}.")
    named = (found.name or found.email or found.user_id) if _sees(request) else ""
    title = named or f"Profile {found.rudder_id}"
    context |= {"destination": destination, "ends": ends}
    return _page(request, "profile", title, context)


def export(request: HttpRequest, pk: int, rudder_id: UUID) -> HttpResponse:
    """All that the warehouse has of a person, as one JSON file."""
    _need(request, PERMISSION)
    _need(request, VIEW)
    destination = get_object_or_404(Destination, pk=pk)
    try:
        with people.opened(destination) as opened:
            found = profile_export(opened, rudder_id)
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    _log(request, destination, f"Exported the profile {found['rudder_id']}.")
    body = orjson.dumps(found, default=str, option=orjson.OPT_INDENT_2)
    response = HttpResponse(body, content_type="application/json")
    name = f"profile-{found['rudder_id']}.json"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def first_rules(request: HttpRequest) -> HttpResponse:
    """Where the navigation leads: its page has the other destinations."""
    _need(request, VIEW)
    first = Destination.objects.order_by("name").first()
    if first is None:
        return HttpResponseRedirect(reverse("people"))
    return HttpResponseRedirect(reverse("people-rules", args=[first.pk]))


def rules(request: HttpRequest, pk: int) -> HttpResponse:
    """The merge log and all that keeps identifiers apart."""
    _need(request, VIEW)
    text = request.GET.get("before", "")
    before = int(text) if text.isdecimal() else None
    destination = get_object_or_404(Destination, pk=pk)
    try:
        with people.opened(destination) as opened:
            context = PeoplePages(opened, sees=_sees(request)).rules(before)
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    _note_look(request, destination, "Looked at merges and rules.")
    context |= {"destination": destination, "destinations": Destination.objects.order_by("name")}
    return _page(request, "rules", f"Merges & rules of {destination}", context)


def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Shows what an action would do; does it when that was confirmed."""
    destination = get_object_or_404(Destination, pk=pk)
    action = ACTIONS.get(request.POST.get("action", ""))
    if request.method != "POST" or action is None:
        raise Http404
    _need(request, action.needs)
    is_done = "confirm" in request.POST
    try:
        with people.opened(destination) as opened:
            user = request.user.get_username()
            effect = action.run(Act(destination, opened, request.POST, user, dry_run=not is_done))
            pages = PeoplePages(opened, sees=_sees(request))
    except NO_ANSWER as error:
        messages.error(request, f"{error}.")
        return HttpResponseRedirect(_back(request, destination))
    if is_done:
        _log(request, destination, f"{action.title}.")
        if effect.requested:
            return _begun(request, effect.requested, _back(request, destination))
        messages.success(request, f"{action.title}: done.")
        return HttpResponseRedirect(_back(request, destination))
    _note_look(request, destination, f"Looked at what this gives: {action.title}.")
    held = [(k, v) for k, all_of in request.POST.lists() for v in all_of if k not in NOT_HELD]
    context = {
        "destination": destination,
        "act": action,
        "held": held,
        "reason": request.POST.get("reason", ""),
        "back": _back(request, destination),
    }
    return _page(request, "act", action.title, {**context, **_effect(action, effect, pages)})


def _begun(request: HttpRequest, erasure: Erasure, back: str) -> HttpResponse:
    try:
        rings.send_erasure(erasure.pk)
    except OperationalError:
        messages.warning(request, "The broker does not answer. The erasure starts when it is back.")
    messages.success(request, f"Requested: erasure no. {erasure.pk}.")
    if not request.user.has_perm("destinations.view_erasure"):
        return HttpResponseRedirect(back)
    return HttpResponseRedirect(reverse("admin:destinations_erasure_change", args=[erasure.pk]))


def _effect(action: Action, effect: Effect, pages: PeoplePages) -> dict[str, Any]:
    """What the preview shows of it."""
    outcome, veil = effect.outcome, pages.veil
    return {
        "lines": effect.lines,
        "cut": [pages.pair(pair) for pair in effect.cut[:SHOWN]],
        "erased": [veil.identifier(*each) for each in effect.erased[:SHOWN]],
        "path": pages.steps(effect.path),
        "before": list(outcome.before.items())[:SHOWN],
        "after": [(row, veil.identifiers(row.identifiers)) for row in outcome.after[:SHOWN]],
        "counts": (len(outcome.before), len(outcome.after)),
        "has_profiles": action is not ACTIONS["erase"],
        "moved": outcome.moved,
    }


def _back(request: HttpRequest, destination: Destination) -> str:
    """To the profile that the action came from, else to the rules."""
    came_from = request.POST.get("profile", "")
    try:
        return reverse("people-profile", args=[destination.pk, UUID(came_from)])
    except ValueError:
        return reverse("people-rules", args=[destination.pk])


def _sees(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


def _need(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _note_look(request: HttpRequest, destination: Destination, text: str) -> None:
    """A page that showed personal data is in the audit log."""
    if _sees(request):
        _log(request, destination, text)


def _log(request: HttpRequest, destination: Destination, text: str) -> None:
    user_pk: Any = request.user.pk
    LogEntry.objects.log_actions(user_pk, [destination], CHANGE, text, single_object=True)


def _page(request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(
        request,
        f"events/people/{name}.html",
        {**admin.site.each_context(request), "title": title, **context},
    )
