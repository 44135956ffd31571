"""The views of people: search, profile, export, merge rules, and changes to identities."""

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
from destinations.postgres.reads.explain import PathStep
from destinations.warehouse.identity.statements import Identifier
from events.people import changes as people_changes
from events.people import store
from events.people.actions import ACTIONS, Form
from events.people.export import profile_export
from events.protocol.masking import PERMISSION
from events.workers import audit
from rudderhub.admin.base.personal_data_audit import is_refresh
from rudderhub.admin.base.record_pages import parse_pk
from rudderhub.admin.people.page_contents import PageContents, TimelineStart

NO_ANSWER = (DestinationError, DestinationUnavailableError, psycopg.Error)
VIEW = "destinations.view_destination"
LATE = timedelta(seconds=10)
EXPIRED = "This preview has expired (after one hour). Create it again."


def search(request: HttpRequest) -> HttpResponse:
    """The profiles that a search finds; the newest without a search."""
    _require(request, VIEW)
    destinations = list(Destination.objects.order_by("name"))
    chosen = request.GET.get("destination", "")
    by_pk = {str(destination.pk): destination for destination in destinations}
    destination = by_pk.get(chosen, destinations[0] if destinations else None)
    text = request.GET.get("q", "").strip()
    context: dict[str, Any] = {"destinations": destinations, "chosen": destination, "text": text}
    if destination is not None:
        try:
            with store.connect(destination) as identities:
                contents = PageContents(identities, sees=_sees_personal_data(request))
                context["profiles"] = contents.search(text)
        except NO_ANSWER as error:
            messages.error(request, str(error))
        if context.get("profiles"):
            _audit_read(request, destination, "Viewed a list of profiles.")
    return _page(request, "search", "Profiles", context)


def profile(request: HttpRequest, pk: int, rudder_id: UUID) -> HttpResponse:
    _require(request, VIEW)
    destination = get_object_or_404(Destination, pk=pk)
    ends = request.GET.get("from", "").strip(), request.GET.get("with", "").strip()
    try:
        with store.connect(destination) as identities:
            contents = PageContents(identities, sees=_sees_personal_data(request))
            context = contents.profile(rudder_id, ends, TimelineStart.of_query(request.GET.dict()))
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    shown = context["profile"]
    _audit_read(request, destination, f"Viewed the profile {shown.rudder_id}.")
    name = (shown.name or shown.email or shown.user_id) if _sees_personal_data(request) else ""
    title = name or f"Profile {shown.rudder_id}"
    context |= {"destination": destination, "ends": ends}
    return _page(request, "profile", title, context)


def export(request: HttpRequest, pk: int, rudder_id: UUID) -> HttpResponse:
    """A JSON file of everything that the warehouse has about a person."""
    _require(request, PERMISSION)
    _require(request, VIEW)
    destination = get_object_or_404(Destination, pk=pk)
    try:
        with store.connect(destination) as identities:
            exported = profile_export(identities, rudder_id)
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    audit.log_action(request.user.pk, destination, f"Exported the profile {exported['rudder_id']}.")
    body = orjson.dumps(exported, default=str, option=orjson.OPT_INDENT_2)
    response = HttpResponse(body, content_type="application/json")
    name = f"profile-{exported['rudder_id']}.json"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


def first_rules(request: HttpRequest) -> HttpResponse:
    """Redirects the navigation's link to the rules of the first destination."""
    _require(request, VIEW)
    first = Destination.objects.order_by("name").first()
    if first is None:
        return HttpResponseRedirect(reverse("people"))
    return HttpResponseRedirect(reverse("people-rules", args=[first.pk]))


def rules(request: HttpRequest, pk: int) -> HttpResponse:
    """The merge log, and everything that keeps identifiers apart."""
    _require(request, VIEW)
    before = parse_pk(request.GET.get("before", ""))
    destination = get_object_or_404(Destination, pk=pk)
    try:
        with store.connect(destination) as identities:
            context = PageContents(identities, sees=_sees_personal_data(request)).rules(before)
    except NO_ANSWER as error:
        messages.error(request, str(error))
        return HttpResponseRedirect(reverse("people"))
    _audit_read(request, destination, "Viewed merges and rules.")
    context |= {"destination": destination, "destinations": Destination.objects.order_by("name")}
    return _page(request, "rules", f"Merges & rules of {destination}", context)


def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Request an action; a worker previews its effect first."""
    destination = get_object_or_404(Destination, pk=pk)
    action = ACTIONS.get(request.POST.get("action", ""))
    if request.method != "POST" or action is None:
        raise Http404
    _require(request, action.needs)
    return _request_change(request, destination, dict(request.POST.lists()))


def _request_change(request: HttpRequest, destination: Destination, form: Form) -> HttpResponse:
    user_pk: Any = request.user.pk
    fields = {name: values for name, values in form.items() if name != "csrfmiddlewaretoken"}
    requested = people_changes.request(destination, user_pk, form["action"][-1], fields)
    return HttpResponseRedirect(reverse("people-change", args=[destination.pk, requested.pk]))


def change(request: HttpRequest, pk: int, change_pk: int) -> HttpResponse:
    """The preview, progress and result of a change, for the user who requested it."""
    changes = IdentityChange.objects.select_related("destination")
    requested = changes.filter(destination=pk, user=request.user.pk, pk=change_pk).first()
    if requested is None:
        return _expired_change(request, pk)
    _require(request, ACTIONS[requested.action].needs)
    if request.method == "POST":
        return _confirm_change(request, requested)
    sees_erasure = request.user.has_perm("destinations.view_erasure")
    if requested.erasure_id and sees_erasure and not is_refresh(request):
        return HttpResponseRedirect(
            reverse("admin:destinations_erasure_change", args=[requested.erasure_id])
        )
    return _change_page(request, requested)


def _expired_change(request: HttpRequest, pk: int) -> HttpResponse:
    if is_refresh(request):
        return HttpResponse()  # an empty answer makes the page reload as a whole
    messages.warning(request, EXPIRED)
    return HttpResponseRedirect(reverse("people-rules", args=[pk]))


def _change_page(request: HttpRequest, requested: IdentityChange) -> HttpResponse:
    action = ACTIONS[requested.action]
    context = {
        "destination": requested.destination,
        "action": action,
        "change": requested,
        "back": _origin_url(requested),
        "is_late": _is_late(requested),
        "reason": (requested.form.get("reason") or [""])[-1],
    }
    if requested.effect and not is_refresh(request):
        context |= _effect_context(request, requested)
    return _page(request, "change", action.title, context)


def _confirm_change(request: HttpRequest, requested: IdentityChange) -> HttpResponse:
    if requested.form and "confirm" not in request.POST:
        more = [*requested.form.get("link", ()), *request.POST.getlist("link")]
        reason = request.POST.getlist("reason")
        return _request_change(
            request, requested.destination, {**requested.form, "link": more, "reason": reason}
        )
    if not people_changes.confirm(requested, request.POST.get("reason", "")):
        messages.warning(request, "This was already confirmed.")
    return HttpResponseRedirect(
        reverse("people-change", args=[requested.destination_id, requested.pk])
    )


def _effect_context(request: HttpRequest, requested: IdentityChange) -> dict[str, Any]:
    """The effect as the page shows it, redacted; events.people.changes defines its form."""
    effect = requested.effect
    try:
        with store.connect(requested.destination) as identities:
            contents = PageContents(identities, sees=_sees_personal_data(request))
    except NO_ANSWER as error:
        messages.error(request, f"{error}.")
        return {}
    if not requested.is_over:
        _audit_read(
            request, requested.destination, f"Previewed: {ACTIONS[requested.action].title}."
        )
    redaction = contents.redaction
    pairs = ([Identifier(*end) for end in pair] for pair in effect["cut"])
    return {
        **effect,
        "cut": [contents.pair((a, b)) for a, b in pairs],
        "erased": [redaction.identifier(*identifier) for identifier in effect["erased"]],
        "path": contents.steps([_path_step(step) for step in effect["path"]]),
        "after": [
            (profile_id, redaction.identifiers(values), count)
            for profile_id, values, count in effect["after"]
        ],
    }


def _path_step(step: dict[str, Any]) -> PathStep:
    at = step["received_at"]
    return PathStep(**step | {"received_at": datetime.fromisoformat(at) if at else None})


def _is_late(requested: IdentityChange) -> bool:
    """Whether no worker has started the change for a while."""
    return not requested.step and timezone.now() - requested.created_at > LATE


def _origin_url(requested: IdentityChange) -> str:
    """The address of the page that the action came from: a profile, else a list."""
    if requested.profile:
        return reverse("people-profile", args=[requested.destination_id, requested.profile])
    if requested.action == "erase":
        return reverse("admin:destinations_erasure_changelist")
    return reverse("people-rules", args=[requested.destination_id])


def _sees_personal_data(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)


def _require(request: HttpRequest, permission: str) -> None:
    if not request.user.has_perm(permission):
        raise PermissionDenied


def _audit_read(request: HttpRequest, destination: Destination, text: str) -> None:
    """Audit that a page showed personal data, unless it was masked."""
    if _sees_personal_data(request):
        audit.log_action(request.user.pk, destination, text)


def _page(request: HttpRequest, name: str, title: str, context: dict[str, Any]) -> HttpResponse:
    return TemplateResponse(
        request,
        f"rudderhub/people/{name}.html",
        {**admin.site.each_context(request), "title": title, **context},
    )
