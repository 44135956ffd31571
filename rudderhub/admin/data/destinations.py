from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Destination
from destinations.postgres.check import STEPS, Step, check
from destinations.postgres.config import PostgresConfig
from destinations.postgres.ready_views import ReadyView, create_ready_views, plan_ready_views
from destinations.registry import CHOICES
from destinations.schedule import Schedule
from rudderhub.admin.data.destination_form import PostgresDestinationForm
from sources.display import clipped, copyable, label, when

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 32


@admin.register(Destination)
class DestinationAdmin(ModelAdmin):
    form = PostgresDestinationForm
    list_display: tuple[str, ...] = (
        *("name", "kind", "on", "address", "schemas", "schedule", "fed_by"),
    )
    list_filter = ("enabled",)
    search_fields = ("name", "public_id")
    search_help_text = "Name or destination id"
    ordering = ("name", "id")
    empty_text = "A destination is a Postgres database that the events are loaded into. Add one."
    actions: tuple[str, ...] = ("test_connection", "enable", "disable")
    readonly_fields: tuple[str, ...] = ("destination_id", "created")
    change_form_outer_before_template = "destinations/check_bar.html"

    def get_fieldsets(self, request: HttpRequest, obj: Destination | None = None) -> Any:
        head = ("name", "type", "enabled", "destination_id", "created") if obj else ("name", "type")
        stored = obj is not None and (obj.secrets or {}).get("password")
        password = ("password", "remove_password") if stored else ("password",)
        return (
            (None, {"fields": head}),
            ("Server", {"fields": (("host", "port"), ("database", "user"), *password, "sslmode")}),
            (
                "When it is loaded",
                {
                    "fields": (
                        ("syncFrequency", "syncStartAt"),
                        ("excludeWindowStartTime", "excludeWindowEndTime"),
                    )
                },
            ),
            (
                "Tables",
                {
                    "fields": (
                        ("namespace", "identity_schema"),
                        "resolve_identities",
                        "trait_identifiers",
                        ("widen_rows", "column_budget"),
                        "jsonPaths",
                        ("skipTracksTable", "skipUsersTable"),
                        ("underscoreDivideNumbers", "allowUsersContextTraits"),
                        "storeFullEvent",
                    )
                },
            ),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        found = Destination.objects.annotate(connection_count=Count("connections"))
        return found.prefetch_related("connections__source")

    @display(description="type", ordering="type")
    def kind(self, destination: Destination) -> str:
        return dict(CHOICES).get(destination.type, destination.type)

    @display(description="state", ordering="enabled")
    def on(self, destination: Destination) -> SafeString:
        return label("on", "good") if destination.enabled else label("off", "off")

    @display(description="address")
    def address(self, destination: Destination) -> str:
        config = destination.config
        return f"{config.get('host', '?')}:{config.get('port', 5432)}/{config.get('database', '?')}"

    @display(description="schemas", empty_value="-")
    def schemas(self, destination: Destination) -> SafeString | None:
        """Those of its tables; a connection's is chosen at its first load."""
        every = sorted({each.namespace for each in destination.connections.all()} - {""})
        if not every:
            return None
        return clipped(", ".join(every), size="short")

    @display(description="is loaded")
    def schedule(self, destination: Destination) -> SafeString:
        try:
            return format_html("{}", Schedule.of(destination.config))
        except DestinationError as error:
            return label(str(error), "bad")

    @display(description="connections", ordering="connection_count")
    def fed_by(self, destination: Destination) -> SafeString:
        count: int = destination.connection_count  # type: ignore[attr-defined]
        return format_html("{}", count) if count else label("none: gets no events", "wait")

    @display(description="destination id")
    def destination_id(self, destination: Destination) -> SafeString:
        return copyable(destination.public_id)

    @display(description="created")
    def created(self, destination: Destination) -> SafeString:
        return when(destination.created_at)

    @action(description="Test connection", permissions=["change"])
    def test_connection(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        """All at once: one that does not answer takes seconds."""
        chosen = list(queryset)
        with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
            tested = list(pool.map(_steps, chosen, [each.namespaces() for each in chosen]))
        for destination, steps in zip(chosen, tested, strict=True):
            failed = _failed(steps)
            if failed:
                messages.error(request, f"{destination}: {failed.name} failed. {failed.detail}")
            else:
                messages.success(request, f"{destination} can be loaded.")

    @action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        self._switch(request, queryset, enabled=True)

    @action(description="Disable: events wait in the log", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        self._switch(request, queryset, enabled=False)

    def response_add(
        self, request: HttpRequest, obj: Destination, post_url_continue: str | None = None
    ) -> HttpResponse:
        """To the new destination's page, where its connection can be tested."""
        if "_popup" in request.POST or "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, f"{obj} is saved. Test the connection next.")
        return HttpResponseRedirect(_change_url(obj))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        destination = self.get_object(request, object_id)
        if destination is not None and self.has_change_permission(request, destination):
            context["check_url"] = _url("check", destination)
            context["views_url"] = _url("views", destination)
        return super().change_view(request, object_id, form_url, context)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """In words: listing each load and dead letter could take minutes."""
        names = [f"Destination {destination}" for destination in objs]
        also = (
            "its connections, their history of loads and their dead letters, "
            "its API tokens and the receipts of its erasures. "
            "Tables in the warehouse and events in the log stay. "
            "To stop loading and keep all this, disable it."
        )
        return [*names, also], {"destinations": len(names)}, set(), []

    def get_urls(self) -> list[URLPattern]:
        views = (("check", self.check_view), ("views", self.ready_views_view))
        wrap = self.admin_site.admin_view
        return [
            path(f"<int:pk>/{name}/", wrap(view), name=f"destinations_destination_{name}")
            for name, view in views
        ] + list(super().get_urls())

    def check_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        destination = self._changeable(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        steps = _steps(destination, destination.namespaces())
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Test of {destination}",
            "destination": destination,
            "steps": steps,
            "failed": _failed(steps),
            "untried": _untried(steps),
            "back": _change_url(destination),
        }
        return TemplateResponse(request, "destinations/check.html", context)

    def ready_views_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Shows the views that analysts expect as they would be made, then makes them."""
        destination = self._changeable(request, pk)
        if request.method == "POST":
            self._make_ready_views(request, destination)
            return HttpResponseRedirect(_change_url(destination))
        planned, faults = _planned_views(destination)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Ready views of {destination}",
            "planned": planned,
            "faults": faults,
            "back": _change_url(destination),
        }
        return TemplateResponse(request, "destinations/ready_views.html", context)

    def _make_ready_views(self, request: HttpRequest, destination: Destination) -> None:
        for namespace in destination.namespaces():
            try:
                config = PostgresConfig.of(destination.config, destination.secrets)
                made = ", ".join(create_ready_views(config, namespace))
            except DestinationUnavailableError as error:
                messages.error(request, f"{destination} does not answer: {error}.")
                return
            except DestinationError as error:
                messages.error(request, f"{namespace}: {error}.")
            else:
                self.log_change(request, destination, f"Made {made}.")
                messages.success(request, f"Made {made}.")

    def _changeable(self, request: HttpRequest, pk: int) -> Destination:
        destination = get_object_or_404(Destination, pk=pk)
        if not self.has_change_permission(request, destination):
            raise PermissionDenied
        return destination

    def _switch(self, request: HttpRequest, found: QuerySet[Destination], *, enabled: bool) -> None:
        word = "Enabled" if enabled else "Disabled"
        names = []
        for destination in found.exclude(enabled=enabled):
            destination.enabled = enabled
            destination.save(update_fields=["enabled", "updated_at"])
            self.log_change(request, destination, f"{word}.")
            names.append(destination.name)
        messages.success(request, f"{word}: {', '.join(names) or 'nothing to change'}.")


def _steps(destination: Destination, namespaces: Sequence[str]) -> list[Step]:
    """Runs in threads: it asks the warehouse only."""
    try:
        config = PostgresConfig.of(destination.config, destination.secrets)
    except DestinationError as error:
        return [Step("Settings", ok=False, detail=f"{error}.")]
    steps = check(config, namespaces)
    failed = _failed(steps)
    logger.info("checked destination=%s failed=%s", destination.pk, failed and failed.name)
    return steps


def _planned_views(
    destination: Destination,
) -> tuple[list[ReadyView], list[tuple[str, str]]]:
    """Of all schemas: the views, and the schemas that can have none with the reason.

    A server that does not answer is asked once.
    """
    planned: list[ReadyView] = []
    faults: list[tuple[str, str]] = []
    for namespace in destination.namespaces():
        try:
            config = PostgresConfig.of(destination.config, destination.secrets)
            planned += plan_ready_views(config, namespace)
        except DestinationUnavailableError as error:
            return planned, [*faults, (namespace, str(error))]
        except DestinationError as error:
            faults.append((namespace, str(error)))
    return planned, faults


def _failed(steps: list[Step]) -> Step | None:
    return next((step for step in steps if not step.ok), None)


def _untried(steps: list[Step]) -> list[str]:
    tried = {step.name for step in steps}
    return [name for name in STEPS if name not in tried]


def _change_url(destination: Destination) -> str:
    return _url("change", destination)


def _url(name: str, destination: Destination) -> str:
    return reverse(f"admin:destinations_destination_{name}", args=[destination.pk])
