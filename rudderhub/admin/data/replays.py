"""The pages of replays, and the form that begins one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from destinations.interface import DestinationError
from destinations.models import Connection
from events.loads import replays
from events.models import Replay, ReplayState
from events.workers import audit, queue
from rudderhub.admin.base.columns import (
    clipped_column,
    progress_column,
    skip_reasons_column,
    time_column,
    warnings_column,
)
from rudderhub.admin.base.display import relative_time, status_label
from rudderhub.admin.base.read_only import ReadOnlyAdmin
from rudderhub.admin.base.record_pages import RecordPages

KINDS = {
    ReplayState.RUNNING: "wait",
    ReplayState.SUCCEEDED: "good",
    ReplayState.CANCELLED: "off",
}


class ReplayForm(forms.Form):
    since = forms.CharField(
        label="From (UTC)",
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "2026-03-01 12:30"}),
        help_text="Events received at this time or later. Empty: start at the oldest event kept.",
    )

    def clean_since(self) -> datetime | None:
        text = self.cleaned_data["since"].strip()
        if not text:
            return None
        try:
            moment = parse_datetime(text) or datetime.fromisoformat(text)
        except ValueError as error:
            raise ValidationError(
                "Enter a time like 2026-03-01 12:30, or a date like 2026-03-01."
            ) from error
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def replay_view(connection_admin: RecordPages, request: HttpRequest, pk: int) -> HttpResponse:
    """A form for the start time; it shows the number of events, then begins the replay."""
    connection = get_object_or_404(
        Connection.objects.select_related("source", "destination"), pk=pk
    )
    if not request.user.has_perm("destinations.change_connection"):
        raise PermissionDenied
    form = ReplayForm(request.POST or None, initial={"since": request.GET.get("since", "")})
    replay_range = None
    if request.method == "POST" and form.is_valid():
        if request.POST.get("counted") == request.POST["since"] and "begin" in request.POST:
            return _begin_replay(request, connection, form.cleaned_data["since"])
        try:
            replay_range = replays.replay_range(connection, form.cleaned_data["since"])
        except DestinationError as error:
            messages.error(request, f"{error}.")
    context = {
        "title": f"Replay of {connection}",
        "connection": connection,
        "form": form,
        "range": replay_range,
        "waits": not (connection.enabled and connection.destination.enabled),
        "running": connection.replays.filter(state=ReplayState.RUNNING).first(),
    }
    return connection_admin.record_page(request, pk, "rudderhub/data/replay.html", context)


def _begin_replay(
    request: HttpRequest, connection: Connection, since: datetime | None
) -> HttpResponse:
    try:
        replay = replays.begin_replay(connection, since)
    except DestinationError as error:
        messages.error(request, f"{error}.")
        return HttpResponseRedirect(request.path)
    since_when = f"{since:%Y-%m-%d %H:%M:%S} UTC" if since else "the oldest event kept"
    audit.log_action(request.user.pk, connection, f"Began {replay} from {since_when}.")
    try:
        queue.enqueue(replay.pk, queue.Work.REPLAY)
    except OperationalError:
        messages.warning(
            request, "The broker does not answer. The replay starts when the broker is back."
        )
    messages.success(request, f"Replaying {connection}. New events keep loading.")
    return HttpResponseRedirect(reverse("admin:events_replay_change", args=[replay.pk]))


@admin.register(Replay)
class ReplayAdmin(ReadOnlyAdmin):
    list_display = ("started", "status", "connection", "scope", "progress", "events", "problem")
    list_filter = ("state", "only_dead_letters", "connection")
    list_select_related = ("connection__source", "connection__destination")
    empty_text = "No replays yet. To start one, open a connection and choose Replay."
    change_form_outer_before_template = "rudderhub/data/replay_bar.html"
    fields = readonly_fields = (
        *("connection", "scope", "status", "started", "ended"),
        *("expected", "events", "skipped", "dead_letters", "discards"),
        *("skipped_for", "warnings_text", "error"),
    )

    skipped_for = skip_reasons_column
    warnings_text = warnings_column
    started = time_column("started_at", "started")
    ended = time_column("finished_at", "ended", "not yet")
    progress = progress_column
    problem = clipped_column("error", "error")

    @display(description="what")
    def scope(self, replay: Replay) -> SafeString:
        if not replay.only_dead_letters:
            return format_html(
                "events since {}", relative_time(replay.since, never="the oldest kept")
            )
        url = reverse("admin:events_deadletter_changelist")
        query = f"?replay__id__exact={replay.pk}&state=all"
        return format_html('<a class="rh-link" href="{}">dead letters</a>', url + query)

    @display(description="state")
    def status(self, replay: Replay) -> SafeString:
        if replay.state == ReplayState.RUNNING and replay.error:
            return format_html(
                "{} next try {}", status_label("waiting", "bad"), relative_time(replay.retry_at)
            )
        if replay.state == ReplayState.RUNNING and not replay.connection.enabled:
            return status_label("the connection is paused", "off")
        return status_label(replay.get_state_display().lower(), KINDS[ReplayState(replay.state)])

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        return {"cancel": self.cancel_view}

    def record_context(self, request: HttpRequest, record: Replay) -> dict[str, Any]:
        return {
            **super().record_context(request, record),
            "progress": self.progress(record),
            "is_running": record.state == ReplayState.RUNNING,
            "may_cancel": request.user.has_perm("destinations.change_connection"),
        }

    def cancel_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not request.user.has_perm("destinations.change_connection"):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        replay = get_object_or_404(Replay, pk=pk)
        if replays.cancel_replay(replay):
            self.log_change(request, replay.connection, f"Cancelled {replay}.")
            messages.success(request, "Replay cancelled. Events loaded so far are kept.")
        else:
            messages.info(request, "It had already ended.")
        return self.record_redirect(pk)
