"""The pages and the form of connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminTextareaWidget

from destinations.models import Connection, FilterMode
from events.loads.advice import advice
from events.loads.backlog import cursor_position
from events.log.reader import head_id
from events.workers import audit, queue
from rudderhub.admin.base.columns import clipped_column, number_column, time_column
from rudderhub.admin.base.deletion import SummarisedDeletion, pending_count, related_counts
from rudderhub.admin.base.display import copyable_text, relative_time, status_label
from rudderhub.admin.base.enabled_actions import EnabledActions
from rudderhub.admin.base.lines_field import LinesField
from rudderhub.admin.base.record_pages import RecordPages, RowsAdmin, RowsChangeList
from rudderhub.admin.data.connection_status import ConnectionStatus, connection_statuses
from rudderhub.admin.data.diagram import MOST_DRAWN, diagrams
from rudderhub.admin.data.replays import replay_view

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _WithStatus(TypedDict):
        status: ConnectionStatus

    ConnectionRow = WithAnnotations[Connection, _WithStatus]


class ConnectionForm(forms.ModelForm):  # type: ignore[type-arg]
    filtered_events = LinesField(
        label="Events",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=(
            "One per line: the name of a track event, or a type such as page or identify. Without "
            "identify and merge events, fewer identifiers are linked. Applies to events loaded "
            "from now on. Other events are counted as skipped, and a replay can load them later."
        ),
    )

    class Meta:
        model = Connection
        fields = ("source", "destination", "enabled", "start", "filter_mode", "filtered_events")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        mode = data.get("filter_mode", FilterMode.ALL)
        if mode != FilterMode.ALL and not data.get("filtered_events"):
            self.add_error("filtered_events", "Enter at least one event, or choose all events.")
        return data


class ConnectionChangeList(RowsChangeList):
    """The list of connections, with a diagram of them above it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        statuses = self.drawn_statuses = [row.status for row in self.result_list[:MOST_DRAWN]]
        everything = not self.has_active_filters and not self.query
        self.diagrams = diagrams(statuses, everything=everything)


@admin.register(Connection)
class ConnectionAdmin(EnabledActions, SummarisedDeletion, RowsAdmin, RecordPages):
    list_display = ("pair", "health", "lag", "pending", "cursor", "loaded", "problem")
    form = ConnectionForm
    list_before_template = "rudderhub/data/diagram.html"
    list_filter = ("enabled", "filter_mode", "source", "destination")
    search_fields = ("source__name", "destination__name", "namespace")
    search_help_text = "Source, destination or schema"
    ordering = ("source__name", "destination__name")
    list_select_related = ("source", "destination")
    empty_text = "A connection loads the events of one source into one destination. Add one."
    change_form_outer_before_template = "rudderhub/data/load_bar.html"
    actions = ("load_now", "enable", "pause")
    enabled_fields = ("enabled",)
    also_deleted = (
        "Its loads, replays and dead letters are deleted. Warehouse tables and the event log are "
        "kept, and pending events are not loaded. To stop loading and keep everything, pause it."
    )
    readonly_fields = ("schema", "history")
    add_fieldsets = (
        (None, {"fields": ("source", "destination", "enabled", "start")}),
        ("Which events", {"fields": ("filter_mode", "filtered_events")}),
    )
    fieldsets = (
        (None, {"fields": (("source", "destination"), "enabled", "start")}),
        ("Which events", {"fields": ("filter_mode", "filtered_events")}),
        ("Results", {"fields": (("schema", "history"),)}),
    )

    pending = number_column("status.backlog.events", "pending")
    loaded = time_column("last_loaded_at", "last loaded", ordering="last_loaded_at")
    problem = clipped_column("error", "last error")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return Connection.objects.select_related("source", "destination")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ConnectionChangeList]:
        return ConnectionChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Connection], search_term: str
    ) -> tuple[QuerySet[Connection], bool]:
        """Search also for the form that the list shows, such as Shop → Warehouse."""
        return super().get_search_results(request, queryset, search_term.replace("→", " "))

    def rows(self, records: Iterable[Connection], request: HttpRequest) -> list[ConnectionRow]:
        rows = []
        for status in connection_statuses(records):
            row = cast("ConnectionRow", status.connection)
            row.status = status
            rows.append(row)
        return rows

    def get_readonly_fields(
        self, request: HttpRequest, obj: Connection | None = None
    ) -> tuple[str, ...]:
        fixed = ("source", "destination", "start") if obj else ()
        return (*fixed, *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        """Save only the fields of the form, since a load may write the others."""
        if change:
            obj.save(update_fields=["enabled", "filter_mode", "filtered_events"])
        else:
            super().save_model(request, obj, form, change)

    def added_text(self, record: Connection) -> str:
        when_enabled = "" if record.enabled else " once it is enabled"
        return f"{record} created. Loading starts automatically{when_enabled}."

    @display(description="source → destination", ordering="source__name")
    def pair(self, connection: Connection) -> SafeString:
        mark = status_label("filtered", "off") if connection.event_filter else ""
        return format_html("{} {}", connection, mark)

    @display(description="health")
    def health(self, connection: ConnectionRow) -> SafeString:
        health = connection.status.health
        word = status_label(health.word, health.kind)
        if health.next_at is None:
            return word
        run = "try" if health.kind == "bad" else "load"
        return format_html("{} next {} {}", word, run, relative_time(health.next_at))

    @display(description="lag")
    def lag(self, connection: ConnectionRow) -> str:
        """How long its oldest pending event has waited."""
        return connection.status.lag or "-"

    @display(description="cursor")
    def cursor(self, connection: Connection) -> str:
        position = cursor_position(connection)
        return f"{position:,}" if position else "start"

    @display(description="schema of the tables")
    def schema(self, connection: Connection) -> SafeString:
        if not connection.namespace:
            return format_html("{}", "chosen at the first load")
        return copyable_text(connection.namespace)

    @display(description="history")
    def history(self, connection: Connection) -> SafeString:
        query = f"?connection__id__exact={connection.pk}"
        return format_html(
            '<a class="rh-link" href="{}">Loads</a> · '
            '<a class="rh-link" href="{}">Dead letters</a> · '
            '<a class="rh-link" href="{}">Replays</a>',
            reverse("admin:events_load_changelist") + query,
            reverse("admin:events_deadletter_changelist") + query,
            reverse("admin:events_replay_changelist") + query,
        )

    @action(description="Load now", permissions=["change"])
    def load_now(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        request_loads(request, queryset)

    def record_context(self, request: HttpRequest, record: ConnectionRow) -> dict[str, Any]:
        return {"status": self._status(record)}

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        replay = partial(replay_view, self)
        return {"load": self.load_view, "state": self.state_view, "replay": replay}

    def state_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The current status of the connection, which its page refreshes."""
        connection = self.get_object(request, str(pk))
        if connection is None:
            raise Http404
        if not self.has_view_permission(request, connection):
            raise PermissionDenied
        return TemplateResponse(
            request, "rudderhub/data/connection_status.html", {"status": self._status(connection)}
        )

    def _status(self, connection: ConnectionRow) -> dict[str, Any]:
        error = connection.error
        return {
            "pk": connection.pk,
            "health": self.health(connection),
            "pending": self.pending(connection),
            "lag": self.lag(connection),
            "loaded": self.loaded(connection),
            "cursor": self.cursor(connection),
            "error": format_html("{}<br>{}", error, advice(error).text) if error else None,
        }

    def load_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        self.changeable(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        request_loads(request, Connection.objects.filter(pk=pk))
        return self.record_redirect(pk)

    @action(description="Pause (events wait in the log)", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        self.set_enabled(request, queryset, "Paused", enabled=False)

    def deletion_counts(self, records: Sequence[Connection]) -> dict[str, int]:
        connections = Connection.objects.filter(pk__in=[record.pk for record in records])
        return {**related_counts(connections), "pending events": pending_count(records)}


def request_loads(request: HttpRequest, queryset: QuerySet[Connection]) -> None:
    """Request loads now, without waiting for a retry or for the schedule."""
    ready = list(queryset.filter(enabled=True, destination__enabled=True))
    queryset.filter(pk__in=[connection.pk for connection in ready]).update(
        retry_at=None, sync_upto=head_id(), synced_at=timezone.now()
    )
    for connection in ready:
        audit.log_action(request.user.pk, connection, "Requested a load.")
    try:
        for connection in ready:
            queue.enqueue(connection.pk)
    except OperationalError:
        messages.warning(
            request,
            "The broker does not answer. The load starts automatically when the broker is back.",
        )
        return
    for connection in queryset.exclude(pk__in=[connection.pk for connection in ready]):
        messages.warning(request, f"{connection} is paused or its destination is disabled.")
    if ready:
        messages.success(request, f"Loading requested: {', '.join(map(str, ready))}.")
