"""The actions on dead letters: re-run and discard, each after a confirmation."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from kombu.exceptions import OperationalError
from unfold.admin import ModelAdmin

from destinations.interface import DestinationError
from destinations.models import Connection
from events.loads import dead_letters, replays
from events.models import DeadLetter, LetterState, Replay, ReplayState
from events.workers import queue
from rudderhub.admin.base.confirmation import (
    Affected,
    Confirmation,
    confirmation_page,
    confirmed_note,
)
from rudderhub.admin.base.display import count_text, relative_time

PERMISSIONS = ("events.view_deadletter", "destinations.change_connection")
AT_MOST = f"At most {dead_letters.MAX_LETTERS:,} at once, the oldest first."
CONFIRMATIONS = {
    "rerun": Confirmation(
        title="Re-run dead letters",
        yes="Re-run them",
        text=(
            "A worker loads these events again with the current settings and tables of their "
            "connection. Nothing is duplicated. Loaded events leave this list. The others get one "
            "more attempt and its reason. "
            f"{AT_MOST}"
        ),
    ),
    "discard": Confirmation(
        title="Discard dead letters",
        yes="Discard them",
        text=(
            "They leave this list and are not loaded. The filter State shows them with your name, "
            f"the time and your note, and the ledger still counts them as dead letters. {AT_MOST}"
        ),
        takes_note=True,
    ),
}


def dead_letter_action(
    model_admin: ModelAdmin,
    request: HttpRequest,
    name: str,
    letters: QuerySet[DeadLetter],
    *,
    most: int = dead_letters.MAX_LETTERS,
) -> HttpResponse:
    """The confirmation of the action "rerun" or "discard"; once confirmed, its result."""
    confirmation = CONFIRMATIONS.get(name)
    if confirmation is None:
        raise Http404
    if not request.user.has_perms(PERMISSIONS):
        raise PermissionDenied
    letters = letters.filter(state=LetterState.OPEN).order_by()
    note = confirmed_note(request, confirmation)
    if note is None:
        return confirmation_page(model_admin, request, confirmation, _affected(letters, name))
    run = _discard if confirmation.takes_note else _rerun
    back = reverse("admin:events_deadletter_changelist")
    return HttpResponseRedirect(
        run(model_admin, request, dead_letters.oldest_letters(letters, most), note) or back
    )


def _rerun(
    model_admin: ModelAdmin, request: HttpRequest, letters: QuerySet[DeadLetter], _note: str
) -> str:
    """Start a replay for each connection. Returns the address of the replay, or of their list."""
    started = [
        replay
        for connection in _connections(letters)
        if (replay := _start_replay(model_admin, request, connection, letters))
    ]
    if started:
        messages.success(
            request, f"Re-running {sum(replay.expected or 0 for replay in started):,}."
        )
    if len(started) == 1:
        return reverse("admin:events_replay_change", args=[started[0].pk])
    return reverse("admin:events_replay_changelist") if started else ""


def _start_replay(
    model_admin: ModelAdmin,
    request: HttpRequest,
    connection: Connection,
    letters: QuerySet[DeadLetter],
) -> Replay | None:
    try:
        replay = replays.begin_rerun(connection, letters)
    except DestinationError as error:
        messages.error(request, f"{connection}: {error}.")
        return None
    count = count_text(replay.expected or 0, "dead letter")
    model_admin.log_change(request, connection, f"Re-ran {count}: {replay}.")
    try:
        queue.enqueue(replay.pk, queue.Work.REPLAY)
    except OperationalError:
        messages.warning(
            request, "The broker does not answer. The re-run starts when the broker is back."
        )
    return replay


def _discard(
    model_admin: ModelAdmin, request: HttpRequest, letters: QuerySet[DeadLetter], note: str
) -> str:
    for connection in _connections(letters):
        count = dead_letters.discard_letters(
            letters.filter(connection=connection), request.user.get_username(), note
        )
        letter_count = count_text(count, "dead letter")
        model_admin.log_change(request, connection, f"Discarded {letter_count}: {note}")
        messages.success(request, f"Discarded {count:,} of {connection}.")
    return ""


def _connections(letters: QuerySet[DeadLetter]) -> list[Connection]:
    pks = letters.values("connection").distinct()
    return list(Connection.objects.select_related("source", "destination").filter(pk__in=pks))


def _affected(letters: QuerySet[DeadLetter], name: str) -> Affected:
    groups = letters.values("connection", "kind").annotate(
        count=Count("pk"), since=Min("created_at")
    )
    connections = {connection.pk: connection for connection in _connections(letters)}
    running = Replay.objects.filter(state=ReplayState.RUNNING, connection__in=connections)
    return Affected(
        ("Connection", "Reason", "Dead letters", "Oldest"),
        [
            (
                _connection_text(connections[group["connection"]]),
                group["kind"],
                group["count"],
                relative_time(group["since"]),
            )
            for group in groups.order_by("-count")
        ],
        [_replay_obstacle(replay) for replay in running] if name == "rerun" else [],
    )


def _connection_text(connection: Connection) -> str:
    is_enabled = connection.enabled and connection.destination.enabled
    return f"{connection}" + ("" if is_enabled else " (paused; waits until it is enabled)")


def _replay_obstacle(replay: Replay) -> tuple[str, str]:
    url = reverse("admin:events_replay_change", args=[replay.pk])
    return f"{replay} is running. Wait until it ends, or cancel it.", url
