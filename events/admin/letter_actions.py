"""What can be done with dead letters: each shows what it touches before it is confirmed."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from kombu.exceptions import OperationalError
from unfold.admin import ModelAdmin

from destinations.interface import DestinationError
from destinations.models import Connection
from events import dead_letters, replays, rings
from events.admin.asking import Touched, Verb, ask, confirmed
from events.models import DeadLetter, LetterState, Replay, ReplayState
from sources.display import counted, when

PERMISSIONS = ("events.view_deadletter", "destinations.change_connection")
AT_MOST = f"At most {dead_letters.MOST_AT_ONCE:,} at once, the oldest first."
VERBS = {
    "rerun": Verb(
        title="Re-run dead letters",
        yes="Re-run them",
        text=(
            "A worker loads these events again with the current settings and tables of their "
            "connection. Nothing is duplicated. Loaded events leave this list. The others get one "
            "more attempt and its reason. "
            f"{AT_MOST}"
        ),
    ),
    "discard": Verb(
        title="Discard dead letters",
        yes="Discard them",
        text=(
            "They leave this list and are not loaded. The filter State shows them with your name, "
            f"the time and your note, and the ledger still counts them as dead letters. {AT_MOST}"
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
    note = confirmed(request, verb)
    if note is None:
        return ask(site_of, request, verb, _touched(letters, name))
    done = _discard if verb.takes_note else _rerun
    back = reverse("admin:events_deadletter_changelist")
    return HttpResponseRedirect(done(site_of, request, dead_letters.oldest(letters), note) or back)


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
    letters_in_words = counted(replay.expected or 0, "dead letter")
    site_of.log_change(request, connection, f"Re-ran {letters_in_words}: {replay}.")
    try:
        rings.send(replay.pk, rings.Work.REPLAY)
    except OperationalError:
        messages.warning(
            request, "The broker does not answer. The re-run starts when the broker is back."
        )
    return replay


def _discard(
    site_of: ModelAdmin, request: HttpRequest, letters: QuerySet[DeadLetter], note: str
) -> str:
    by = request.user.get_username()
    for connection in _connections(letters):
        count = dead_letters.discard(letters.filter(connection=connection), by, note)
        what = counted(count, "dead letter")
        site_of.log_change(request, connection, f"Discarded {what}: {note}")
        messages.success(request, f"Discarded {count:,} of {connection}.")
    return ""


def _connections(letters: QuerySet[DeadLetter]) -> list[Connection]:
    pks = letters.values("connection").distinct()
    return list(Connection.objects.select_related("source", "destination").filter(pk__in=pks))


def _touched(letters: QuerySet[DeadLetter], name: str) -> Touched:
    groups = letters.values("connection", "kind").annotate(
        count=Count("pk"), since=Min("created_at")
    )
    connections = {each.pk: each for each in _connections(letters)}
    return Touched(
        ("Connection", "Reason", "Dead letters", "Oldest"),
        [
            (
                _named(connections[each["connection"]]),
                each["kind"],
                each["count"],
                when(each["since"]),
            )
            for each in groups.order_by("-count")
        ],
        [_running(replay) for replay in _replays(connections)] if name == "rerun" else [],
    )


def _named(connection: Connection) -> str:
    goes_on = connection.enabled and connection.destination.enabled
    return f"{connection}" + ("" if goes_on else " (paused; waits until it is enabled)")


def _replays(connections: Collection[int]) -> QuerySet[Replay]:
    return Replay.objects.filter(state=ReplayState.RUNNING, connection__in=connections)


def _running(replay: Replay) -> tuple[str, str]:
    url = reverse("admin:events_replay_change", args=[replay.pk])
    return f"{replay} is running. Wait until it ends, or cancel it.", url
