from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.views import ChangeList

from destinations.models import Connection, Destination, Erasure, ErasureState, ProfileToken
from events.admin.connections import ask_for_load
from events.admin.fare import add_backlogs, backlog_of, health_of
from events.admin.going import with_connections
from events.advice import advice
from events.health import worst
from rudderhub.admin.data.destinations import DestinationAdmin
from sources.display import clipped, label, length


class DestinationChangeList(ChangeList):
    """One count of what is pending for all connections of the page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        _add_backlogs(self.result_list)


admin.site.unregister(Destination)


@admin.register(Destination)
class LoggedDestinationAdmin(DestinationAdmin):
    """The admin of destinations, which knows no log, with how their connections fare."""

    list_display = (*("name", "kind", "on", "schemas", "health", "lag", "problem", "schedule"),)
    actions = ("test_connection", "load_now", "enable", "disable")
    readonly_fields = (*DestinationAdmin.readonly_fields, "connections")

    def get_fieldsets(self, request: HttpRequest, obj: Destination | None = None) -> Any:
        found = super().get_fieldsets(request, obj)
        if obj is None:
            return found
        return (found[0], ("Connections", {"fields": ("connections",)}), *found[1:])

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[DestinationChangeList]:
        return DestinationChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Destination | None:
        destination: Destination | None = super().get_object(request, object_id, from_field)
        if destination is not None:
            _add_backlogs([destination])
        return destination

    @display(description="health")
    def health(self, destination: Destination) -> SafeString:
        """That of the connection that fares worst."""
        found = worst(health_of(each) for each in _connections(destination))
        return label(found.word, found.kind) if found else label("no source feeds it", "wait")

    @display(description="lag", empty_value="-")
    def lag(self, destination: Destination) -> str | None:
        """Since when the oldest event of all its connections waits."""
        waiting = [backlog_of(each).oldest_at for each in _connections(destination)]
        oldest = min((at for at in waiting if at), default=None)
        return length(oldest, timezone.now()) if oldest else None

    @display(description="last error", empty_value="-")
    def problem(self, destination: Destination) -> SafeString | None:
        errors = [each.error for each in _connections(destination) if each.error]
        if not errors:
            return None
        return clipped(errors[0], size="short")

    @display(description="fed by")
    def connections(self, destination: Destination) -> SafeString:
        """Each source with its health, so that one sees which connection it is."""
        rows = [
            (
                reverse("admin:destinations_connection_change", args=[each.pk]),
                each.source,
                label(health_of(each).word, health_of(each).kind),
                f"{backlog_of(each).events:,}",
                each.error,
                advice(each.error).text if each.error else "",
            )
            for each in _connections(destination)
        ]
        return format_html_join(
            "",
            '<p><a class="rh-link" href="{}">{}</a> {} {} pending'
            ' <span class="rh-detail">{} {}</span></p>',
            rows,
        ) or format_html("{}", "no source yet")

    @action(description="Load now", permissions=["change"])
    def load_now(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        ask_for_load(request, Connection.objects.filter(destination__in=queryset))

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """With counts; one whose erasures are not done cannot go."""
        chosen = list(objs)
        words, counts, lacking, _ = super().get_deleted_objects(chosen, request)
        counts |= _going(chosen)
        open_ones = Erasure.objects.exclude(state=ErasureState.DONE).defer("held")
        waiting = open_ones.filter(destination__in=chosen).select_related("destination")
        return words, counts, lacking, [f"{each}: wait for its end" for each in waiting]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        if object_id.isdecimal():
            context["load_url"] = reverse(
                "admin:destinations_destination_load", args=[int(object_id)]
            )
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.load_view)
        route = path("<int:pk>/load/", view, name="destinations_destination_load")
        return [route, *super().get_urls()]

    def load_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        destination = self._changeable(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        ask_for_load(request, Connection.objects.filter(destination=destination))
        return HttpResponseRedirect(reverse("admin:destinations_destination_change", args=[pk]))


def _going(destinations: list[Destination]) -> dict[str, int]:
    """What is deleted with destinations."""
    connections = Connection.objects.filter(destination__in=destinations)
    return {
        "connections": connections.count(),
        **with_connections(connections),
        "receipts of erasures": Erasure.objects.filter(destination__in=destinations).count(),
        "API tokens": ProfileToken.objects.filter(destination__in=destinations).count(),
    }


def _connections(destination: Destination) -> list[Connection]:
    return sorted(destination.connections.all(), key=lambda each: each.source.name)


def _add_backlogs(destinations: list[Destination]) -> None:
    """The connections of one destination know it, so that none is asked for again."""
    every = []
    for destination in destinations:
        for each in _connections(destination):
            each.destination = destination
            every.append(each)
    add_backlogs(every)
