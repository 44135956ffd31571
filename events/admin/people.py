"""Profiles in the admin: find, look, explain, un-merge, erase; and the rules behind them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import psycopg
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination, IdentityChange
from destinations.postgres.explain import PathStep
from destinations.warehouse.identity import Identifier
from events import identity_changes, people
from events.admin.looks import is_refresh
from events.admin.people_shown import Before, PeoplePages
from events.exports import profile_export
from events.identity_actions import ACTIONS, Form
from events.masking import PERMISSION
from events.text import parse_pk
from sources import audit

NO_ANSWER = (DestinationError, DestinationUnavailableError, psycopg.Error)
VIEW = "destinations.view_destination"
LATE = timedelta(seconds=10)
OVER = "This preview has expired (after one hour). Create it again."


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
            _note_look(request, destination, "Viewed a list of profiles.")
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
    _note_look(request, destination, f"Viewed the profile {found.rudder_id}.")
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
    before = parse_pk(request.GET.get("before", ""))
    destination = get_object_or_404(Destination, pk=pk)
    try:
        with people.opened(destination) as opened:
            context = PeoplePages(opened, sees=_sees(request)).rules(before)
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    _note_look(request, destination, "Viewed merges and rules.")
    context |= {"destination": destination, "destinations": Destination.objects.order_by("name")}
    return _page(request, "rules", f"Merges & rules of {destination}", context)


def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Has a worker count what an action would do."""
    destination = get_object_or_404(Destination, pk=pk)
    action = ACTIONS.get(request.POST.get("action", ""))
    if request.method != "POST" or action is None:
        raise Http404
    _need(request, action.needs)
    return _asked(request, destination, dict(request.POST.lists()))


def _asked(request: HttpRequest, destination: Destination, form: Form) -> HttpResponse:
    user_pk: Any = request.user.pk
    held = {name: values for name, values in form.items() if name != "csrfmiddlewaretoken"}
    made = identity_changes.request(destination, user_pk, form["action"][-1], held)
    return HttpResponseRedirect(reverse("people-change", args=[destination.pk, made.pk]))


def change(request: HttpRequest, pk: int, change_pk: int) -> HttpResponse:
    """What a change would do, how far it is, and what it did: for who asked for it."""
    found = IdentityChange.objects.select_related("destination")
    asked = found.filter(destination=pk, user=request.user.pk, pk=change_pk).first()
    if asked is None:
        return _over(request, pk)
    _need(request, ACTIONS[asked.action].needs)
    if request.method == "POST":
        return _answered(request, asked)
    sees_erasure = request.user.has_perm("destinations.view_erasure")
    if asked.erasure_id and sees_erasure and not is_refresh(request):
        return HttpResponseRedirect(
            reverse("admin:destinations_erasure_change", args=[asked.erasure_id])
        )
    return _change_page(request, asked)


def _over(request: HttpRequest, pk: int) -> HttpResponse:
    if is_refresh(request):
        return HttpResponse()  # nothing to go on with: the page is loaded whole
    messages.warning(request, OVER)
    return HttpResponseRedirect(reverse("people-rules", args=[pk]))


def _change_page(request: HttpRequest, asked: IdentityChange) -> HttpResponse:
    action = ACTIONS[asked.action]
    context = {
        "destination": asked.destination,
        "act": action,
        "change": asked,
        "back": _back(asked),
        "is_late": _is_late(asked),
        "reason": (asked.form.get("reason") or [""])[-1],
    }
    if asked.effect and not is_refresh(request):
        context |= _effect(request, asked)
    return _page(request, "change", action.title, context)


def _answered(request: HttpRequest, asked: IdentityChange) -> HttpResponse:
    if asked.form and "confirm" not in request.POST:
        more = [*asked.form.get("link", ()), *request.POST.getlist("link")]
        reason = request.POST.getlist("reason")
        return _asked(request, asked.destination, {**asked.form, "link": more, "reason": reason})
    if not identity_changes.confirm(asked, request.POST.get("reason", "")):
        messages.warning(request, "This was already confirmed.")
    return HttpResponseRedirect(reverse("people-change", args=[asked.destination_id, asked.pk]))


def _effect(request: HttpRequest, asked: IdentityChange) -> dict[str, Any]:
    """What the page shows of it, through the veil; identity_changes.kept has its form."""
    effect = asked.effect
    try:
        with people.opened(asked.destination) as opened:
            pages = PeoplePages(opened, sees=_sees(request))
    except NO_ANSWER as error:
        messages.error(request, f"{error}.")
        return {}
    if not asked.is_over:
        _note_look(request, asked.destination, f"Previewed: {ACTIONS[asked.action].title}.")
    veil = pages.veil
    pairs = ([Identifier(*end) for end in pair] for pair in effect["cut"])
    return {
        **effect,
        "cut": [pages.pair((a, b)) for a, b in pairs],
        "erased": [veil.identifier(*each) for each in effect["erased"]],
        "path": pages.steps([_step(each) for each in effect["path"]]),
        "after": [(each, veil.identifiers(held), n) for each, held, n in effect["after"]],
    }


def _step(held: dict[str, Any]) -> PathStep:
    at = held["received_at"]
    return PathStep(**held | {"received_at": datetime.fromisoformat(at) if at else None})


def _is_late(asked: IdentityChange) -> bool:
    """Whether no worker has begun for a while."""
    return not asked.step and timezone.now() - asked.created_at > LATE


def _back(asked: IdentityChange) -> str:
    """To the profile that the action came from, else to the list that asks for such."""
    if asked.profile:
        return reverse("people-profile", args=[asked.destination_id, asked.profile])
    if asked.action == "erase":
        return reverse("admin:destinations_erasure_changelist")
    return reverse("people-rules", args=[asked.destination_id])


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
    audit.note(request.user.pk, destination, text)


def _page(request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(
        request,
        f"events/people/{name}.html",
        {**admin.site.each_context(request), "title": title, **context},
    )
