from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
)
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from kombu.exceptions import OperationalError
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.views import ChangeList

from destinations.models import Connection
from events import rings
from events.admin.connection_form import ConnectionForm
from events.admin.drawing import MOST_DRAWN, pictures
from events.admin.fare import add_backlogs, backlog_of, health_of, lag_of
from events.admin.going import unloaded, with_connections
from events.admin.replays import replay_view
from events.advice import advice
from events.backlog import cursor
from events.rates import head
from sources import audit
from sources.display import clipped, copyable, label, when


class ConnectionChangeList(ChangeList):
    """With a picture of the connections of the page above them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        add_backlogs(self.result_list)
        self.drawn = list(self.result_list)[:MOST_DRAWN]
        everything = not self.has_active_filters and not self.query
        self.pictures = pictures(self.drawn, everything=everything)


@admin.register(Connection)
class ConnectionAdmin(ModelAdmin):
    list_display = ("pair", "health", "lag", "pending", "cursor", "loaded", "problem")
    form = ConnectionForm
    list_before_template = "events/picture.html"
    list_filter = ("enabled", "filter_mode", "source", "destination")
    search_fields = ("source__name", "destination__name", "namespace")
    search_help_text = "Source, destination or schema"
    ordering = ("source__name", "destination__name")
    list_select_related = ("source", "destination")
    empty_text = "A connection loads the events of one source into one destination. Add one."
    change_form_outer_before_template = "events/load_bar.html"
    actions = ("load_now", "enable", "pause")
    readonly_fields = ("schema", "history")
    add_fieldsets = (
        (None, {"fields": ("source", "destination", "enabled", "start")}),
        ("Which events", {"fields": ("filter_mode", "filtered_events")}),
    )
    fieldsets = (
        (None, {"fields": (("source", "destination"), "enabled", "start")}),
        ("Which events", {"fields": ("filter_mode", "filtered_events")}),
        ("What it made", {"fields": (("schema", "history"),)}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Connection]:
        return Connection.objects.select_related("source", "destination")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ConnectionChangeList]:
        return ConnectionChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Connection], search_term: str
    ) -> tuple[QuerySet[Connection], bool]:
        """Also as the list writes it: Shop → Warehouse."""
        return super().get_search_results(request, queryset, search_term.replace("→", " "))

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Connection | None:
        connection: Connection | None = super().get_object(request, object_id, from_field)
        if connection is not None:
            add_backlogs([connection])
        return connection

    def get_readonly_fields(
        self, request: HttpRequest, obj: Connection | None = None
    ) -> tuple[str, ...]:
        fixed = ("source", "destination", "start") if obj else ()
        return (*fixed, *self.readonly_fields)

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        """Only what the form holds: a load may be writing the rest."""
        if change:
            obj.save(update_fields=["enabled", "filter_mode", "filtered_events"])
        else:
            super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: Connection, post_url_continue: str | None = None
    ) -> HttpResponse:
        if "_popup" in request.POST or "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        when_enabled = "" if obj.enabled else " once it is enabled"
        messages.success(request, f"{obj} is made. Loads start by themselves{when_enabled}.")
        return HttpResponseRedirect(reverse("admin:destinations_connection_change", args=[obj.pk]))

    @display(description="source → destination", ordering="source__name")
    def pair(self, connection: Connection) -> SafeString:
        mark = label("filtered", "off") if connection.event_filter else ""
        return format_html("{} {}", connection, mark)

    @display(description="health")
    def health(self, connection: Connection) -> SafeString:
        found = health_of(connection)
        shown = label(found.word, found.kind)
        if found.next_at is None:
            return shown
        what = "try" if found.kind == "bad" else "load"
        return format_html("{} next {} {}", shown, what, when(found.next_at))

    @display(description="lag")
    def lag(self, connection: Connection) -> str:
        """Since when its oldest event waits."""
        return lag_of(connection) or "-"

    @display(description="pending")
    def pending(self, connection: Connection) -> str:
        return f"{backlog_of(connection).events:,}"

    @display(description="last loaded", ordering="last_loaded_at")
    def loaded(self, connection: Connection) -> SafeString:
        return when(connection.last_loaded_at)

    @display(description="last error", empty_value="-")
    def problem(self, connection: Connection) -> SafeString | None:
        return clipped(connection.error) if connection.error else None

    def error(self, connection: Connection) -> SafeString | None:
        """With what to do about it."""
        error = connection.error
        return format_html("{}<br>{}", error, advice(error).text) if error else None

    @display(description="cursor")
    def cursor(self, connection: Connection) -> str:
        position = cursor(connection)
        return f"{position:,}" if position else "start"

    @display(description="schema of the tables")
    def schema(self, connection: Connection) -> SafeString:
        if not connection.namespace:
            return format_html("{}", "chosen at the first load")
        return copyable(connection.namespace)

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
        ask_for_load(request, queryset)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        connection = self.get_object(request, object_id)
        context = {**(extra_context or {}), "fare": self._fare(connection) if connection else None}
        return super().change_view(request, object_id, form_url, context)

    def state_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """How it fares now, for its page."""
        connection = self.get_object(request, str(pk))
        if connection is None:
            raise Http404
        if not self.has_view_permission(request, connection):
            raise PermissionDenied
        return TemplateResponse(request, "events/fare.html", {"fare": self._fare(connection)})

    def _fare(self, connection: Connection) -> dict[str, Any]:
        shown = (self.health, self.pending, self.lag, self.loaded, self.cursor, self.error)
        return {"pk": connection.pk, **{each.__name__: each(connection) for each in shown}}

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.load_view)
        route = path("<int:pk>/load/", view, name="destinations_connection_load")
        state = self.admin_site.admin_view(self.state_view)
        replay = self.admin_site.admin_view(partial(replay_view, self.admin_site))
        return [
            route,
            path("<int:pk>/state/", state, name="destinations_connection_state"),
            path("<int:pk>/replay/", replay, name="destinations_connection_replay"),
            *super().get_urls(),
        ]

    def load_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        connection = get_object_or_404(Connection, pk=pk)
        if not self.has_change_permission(request, connection):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        ask_for_load(request, Connection.objects.filter(pk=pk))
        return HttpResponseRedirect(reverse("admin:destinations_connection_change", args=[pk]))

    @action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        self._switch(request, queryset, enabled=True)

    @action(description="Pause: events wait in the log", permissions=["change"])
    def pause(self, request: HttpRequest, queryset: QuerySet[Connection]) -> None:
        self._switch(request, queryset, enabled=False)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """In words and counts: listing each load and dead letter could take minutes."""
        chosen = list(objs)
        names = [f"Connection {connection}" for connection in chosen]
        also = (
            "its history of loads, its replays and its dead letters. Tables in the warehouse and "
            "events in the log stay; what is pending is not loaded. To stop loading and keep all "
            "this, pause it."
        )
        going = with_connections(Connection.objects.filter(pk__in=[each.pk for each in chosen]))
        counts = {"connections": len(chosen), **going, "pending events": unloaded(chosen)}
        return [*names, also], counts, set(), []

    def _switch(self, request: HttpRequest, found: QuerySet[Connection], *, enabled: bool) -> None:
        word = "Enabled" if enabled else "Paused"
        names = []
        for connection in found.exclude(enabled=enabled):
            connection.enabled = enabled
            connection.save(update_fields=["enabled"])
            self.log_change(request, connection, f"{word}.")
            names.append(str(connection))
        messages.success(request, f"{word}: {', '.join(names) or 'nothing to change'}.")


def ask_for_load(request: HttpRequest, queryset: QuerySet[Connection]) -> None:
    """Ring a worker, and end the wait after a failed load or for the sync schedule."""
    ready = list(queryset.filter(enabled=True, destination__enabled=True))
    queryset.filter(pk__in=[c.pk for c in ready]).update(
        retry_at=None, sync_upto=head(), synced_at=timezone.now()
    )
    for connection in ready:
        audit.note(request.user.pk, connection, "Asked for a load.")
    try:
        for connection in ready:
            rings.send(connection.pk)
    except OperationalError:
        messages.warning(
            request, "The broker does not answer. The load starts by itself when it is back."
        )
        return
    for connection in queryset.exclude(pk__in=[c.pk for c in ready]):
        messages.warning(request, f"{connection} is paused or its destination is disabled.")
    if ready:
        messages.success(request, f"Asked a worker to load {', '.join(map(str, ready))}.")
