"""What can be done with dead letters: each shows what it touches before it is confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from kombu.exceptions import OperationalError
from unfold.admin import ModelAdmin

from destinations.interface import DestinationError
from destinations.models import Connection
from events import dead_letters, replays, rings
from events.models import DeadLetter, LetterState, Replay, ReplayState

PERMISSIONS = ("events.view_deadletter", "destinations.change_connection")
FORM_ONLY = ("csrfmiddlewaretoken", "confirm", "note")


@dataclass(frozen=True)
class Verb:
    title: str
    yes: str
    text: str
    takes_note: bool = False


VERBS = {
    "rerun": Verb(
        title="Re-run dead letters",
        yes="Re-run them",
        text=(
            "A worker loads these events once more through their connection as it is now: with "
            "its present settings and tables. Rows are written by key, so none is doubled. Those "
            "that load leave this list; the others get another attempt and its reason."
        ),
    ),
    "discard": Verb(
        title="Discard dead letters",
        yes="Discard them",
        text=(
            "They leave the list of what needs a look and are not loaded. They are kept under "
            "the filter State with your name, the time and your note, and the ledger goes on "
            "counting them as dead letters."
        ),
        takes_note=True,
    ),
}


def act(
    site_of: ModelAdmin, request: HttpRequest, name: str, letters: QuerySet[DeadLetter]
) -> HttpResponse:
    """Ask first; do it when that was confirmed."""
    verb = VERBS.get(name)
    if verb is None:
        raise Http404
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    letters = letters.filter(state=LetterState.OPEN).order_by()
    note = request.POST.get("note", "").strip()
    back = reverse("admin:events_deadletter_changelist")
    if "confirm" in request.POST and (note or not verb.takes_note):
        done = _discard if verb.takes_note else _rerun
        return HttpResponseRedirect(done(site_of, request, letters, note) or back)
    groups = letters.values("connection", "kind").annotate(
        letters=Count("pk"), oldest=Min("created_at")
    )
    context = {
        **site_of.admin_site.each_context(request),
        "opts": DeadLetter._meta,  # noqa: SLF001
        "title": verb.title,
        "verb": verb,
        "groups": _named(groups.order_by("-letters")),
        "held": [
            (k, v) for k in request.POST if k not in FORM_ONLY for v in request.POST.getlist(k)
        ],
        "lacks_note": "confirm" in request.POST,
        "running": _running(letters) if name == "rerun" else [],
        "back": back,
    }
    return TemplateResponse(request, "events/letters.html", context)


def _rerun(
    site_of: ModelAdmin, request: HttpRequest, letters: QuerySet[DeadLetter], _note: str
) -> str:
    """One replay for each connection; where to look at it, or at all of them."""
    begun = [
        replay
        for connection in _connections(letters)
        if (replay := _begin(site_of, request, connection, letters))
    ]
    if begun:
        messages.success(request, f"Re-running {sum(each.expected or 0 for each in begun):,}.")
    if len(begun) == 1:
        return reverse("admin:events_replay_change", args=[begun[0].pk])
    return reverse("admin:events_replay_changelist") if begun else ""


def _begin(
    site_of: ModelAdmin,
    request: HttpRequest,
    connection: Connection,
    letters: QuerySet[DeadLetter],
) -> Replay | None:
    try:
        replay = replays.rerun(connection, letters)
    except DestinationError as error:
        messages.error(request, f"{connection}: {error}.")
        return None
    site_of.log_change(request, connection, f"Re-ran {replay.expected} dead letters: {replay}.")
    try:
        rings.send_replay(replay.pk)
    except OperationalError:
        messages.warning(request, "The broker does not answer. It starts when it is back.")
    return replay


def _discard(
    site_of: ModelAdmin, request: HttpRequest, letters: QuerySet[DeadLetter], note: str
) -> str:
    by = request.user.get_username()
    for connection in _connections(letters):
        count = dead_letters.discard(letters.filter(connection=connection), by, note)
        site_of.log_change(request, connection, f"Discarded {count} dead letters: {note}")
        messages.success(request, f"Discarded {count:,} of {connection}.")
    return ""


def _connections(letters: QuerySet[DeadLetter]) -> list[Connection]:
    pks = letters.values("connection").distinct()
    return list(Connection.objects.select_related("source", "destination").filter(pk__in=pks))


def _named(groups: Any) -> list[dict[str, Any]]:
    found = list(groups)
    names = Connection.objects.select_related("source", "destination").in_bulk(
        {group["connection"] for group in found}
    )
    return [{**group, "connection": names[group["connection"]]} for group in found]


def _running(letters: QuerySet[DeadLetter]) -> list[Replay]:
    pks = letters.values("connection").distinct()
    return list(Replay.objects.filter(state=ReplayState.RUNNING, connection__in=pks))
