"""The pages of destinations, with the status of their connections."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypedDict, cast

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from destinations.interface import DestinationError, DestinationUnavailableError
from destinations.models import Connection, Destination, Erasure, ErasureState, ProfileToken
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection_check import STEPS, CheckStep, check_connection
from destinations.postgres.operations.analyst_views import (
    PlannedView,
    create_analyst_views,
    planned_analyst_views,
)
from destinations.registry import TYPE_CHOICES
from destinations.schedule import Schedule
from events.loads.advice import advice
from events.loads.status import worst_health
from rudderhub.admin.base.columns import column, copyable_column, time_column
from rudderhub.admin.base.deletion import SummarisedDeletion, related_counts
from rudderhub.admin.base.display import clipped_text, duration_text, status_label
from rudderhub.admin.base.enabled_actions import EnabledActions
from rudderhub.admin.base.record_pages import RecordPages, RowsAdmin
from rudderhub.admin.data import warehouse_queries
from rudderhub.admin.data.connection_status import ConnectionStatus, connection_statuses
from rudderhub.admin.data.connections import request_loads
from rudderhub.admin.data.destination_form import PostgresDestinationForm

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _WithStatuses(TypedDict):
        statuses: list[ConnectionStatus]

    DestinationRow = WithAnnotations[Destination, _WithStatuses]

logger = logging.getLogger(__name__)

SCHEDULE_FIELDS = (
    ("syncFrequency", "syncStartAt"),
    ("excludeWindowStartTime", "excludeWindowEndTime"),
)
TABLE_FIELDS = (
    *(("namespace", "identity_schema"), "resolve_identities", "trait_identifiers"),
    *(("widen_rows", "column_budget"), "jsonPaths", ("skipTracksTable", "skipUsersTable")),
    *(("underscoreDivideNumbers", "allowUsersContextTraits"), "storeFullEvent"),
)


@admin.register(Destination)
class DestinationAdmin(EnabledActions, SummarisedDeletion, RowsAdmin, RecordPages):
    form = PostgresDestinationForm
    list_display = ("name", "kind", "state", "schemas", "health", "lag", "problem", "schedule")
    list_filter = ("enabled",)
    search_fields = ("name", "public_id")
    search_help_text = "Name or destination id"
    ordering = ("name", "id")
    empty_text = "A destination is a Postgres database that receives the events. Add one."
    actions = ("test_connection", "load_now", "enable", "disable")
    readonly_fields = ("destination_id", "created", "connections")
    change_form_outer_before_template = "rudderhub/data/connection_test_bar.html"
    also_deleted = (
        "Its connections, their loads and dead letters, its API tokens and erasure receipts are "
        "deleted. Warehouse tables and the event log are kept. To stop loading and keep "
        "everything, disable it."
    )

    destination_id = copyable_column("public_id", "destination id")
    created = time_column("created_at", "created")
    kind = column("type", "type", lambda kind: dict(TYPE_CHOICES).get(kind, kind), "type")

    def get_fieldsets(self, request: HttpRequest, obj: Destination | None = None) -> Any:
        head = ("name", "type", "enabled", "destination_id", "created") if obj else ("name", "type")
        stored = obj is not None and (obj.secrets or {}).get("password")
        password = ("password", "remove_password") if stored else ("password",)
        return (
            (None, {"fields": head}),
            *((("Connections", {"fields": ("connections",)}),) if obj else ()),
            ("Server", {"fields": (("host", "port"), ("database", "user"), *password, "sslmode")}),
            ("Schedule", {"fields": SCHEDULE_FIELDS}),
            ("Tables", {"fields": TABLE_FIELDS}),
        )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Destination]:
        return Destination.objects.prefetch_related("connections__source")

    def rows(self, records: Iterable[Destination], request: HttpRequest) -> list[DestinationRow]:
        """The destinations with the statuses of their connections, sorted by source."""
        rows, connections = [cast("DestinationRow", record) for record in records], []
        for row in rows:
            row.statuses = []
            for connection in sorted(row.connections.all(), key=attrgetter("source.name")):
                connection.destination = row  # so that the status does not fetch it again
                connections.append(connection)
        by_pk = {row.pk: row for row in rows}
        for status in connection_statuses(connections):
            by_pk[status.connection.destination_id].statuses.append(status)
        return rows

    @display(description="schemas", empty_value="-")
    def schemas(self, destination: Destination) -> SafeString | None:
        """The schemas of its tables; a connection chooses its schema at its first load."""
        names = sorted({row.namespace for row in destination.connections.all()} - {""})
        return clipped_text(", ".join(names), size="short") if names else None

    @display(description="health")
    def health(self, destination: DestinationRow) -> SafeString:
        """The worst health of its connections."""
        health = worst_health(status.health for status in destination.statuses)
        return (
            status_label(health.word, health.kind)
            if health
            else status_label("not connected to a source", "wait")
        )

    @display(description="lag", empty_value="-")
    def lag(self, destination: DestinationRow) -> str | None:
        """How long its oldest pending event has waited."""
        times = [status.backlog.oldest_at for status in destination.statuses]
        oldest = min((time for time in times if time), default=None)
        return duration_text(oldest, timezone.now()) if oldest else None

    @display(description="last error", empty_value="-")
    def problem(self, destination: DestinationRow) -> SafeString | None:
        connections = (status.connection for status in destination.statuses)
        error = next((row.error for row in connections if row.error), None)
        return clipped_text(error, size="short") if error else None

    @display(description="schedule")
    def schedule(self, destination: Destination) -> SafeString:
        try:
            return format_html("{}", Schedule.from_config(destination.config))
        except DestinationError as error:
            return status_label(str(error), "bad")

    @display(description="sources")
    def connections(self, destination: DestinationRow) -> SafeString:
        """Each source with the health of its connection."""
        return format_html_join(
            "",
            '<p><a class="rh-link" href="{}">{}</a> {} {} pending'
            ' <span class="rh-detail">{} {}</span></p>',
            (_connection_cells(status) for status in destination.statuses),
        ) or format_html("{}", "no source")

    @action(description="Test connection", permissions=["change"])
    def test_connection(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        """Test all at once, because a server that does not answer takes seconds."""
        destinations = list(queryset)
        namespaces = [destination.namespaces() for destination in destinations]
        with ThreadPoolExecutor(warehouse_queries.MOST_AT_ONCE) as pool:
            tests = list(pool.map(_check_steps, destinations, namespaces))
        for destination, steps in zip(destinations, tests, strict=True):
            failed = _failed_step(steps)
            if failed:
                messages.error(request, f"{destination}: {failed.name} failed. {failed.detail}")
            else:
                messages.success(request, f"{destination} can be loaded.")

    @action(description="Load now", permissions=["change"])
    def load_now(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        request_loads(request, Connection.objects.filter(destination__in=queryset))

    @action(description="Disable (events wait in the log)", permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Destination]) -> None:
        self.set_enabled(request, queryset, "Disabled", enabled=False)

    def added_text(self, record: Destination) -> str:
        return f"{record} saved. Test the connection next."

    def record_context(self, request: HttpRequest, record: Destination) -> dict[str, Any]:
        context = {"load_url": self.record_url("load", record.pk)}
        if self.has_change_permission(request, record):
            context["check_url"] = self.record_url("check", record.pk)
            context["views_url"] = self.record_url("views", record.pk)
        return context

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        return {"load": self.load_view, "check": self.check_view, "views": self.analyst_views_view}

    def deletion_counts(self, records: Sequence[Destination]) -> dict[str, int]:
        connections = Connection.objects.filter(destination__in=records)
        return {
            "connections": connections.count(),
            **related_counts(connections),
            "erasure receipts": Erasure.objects.filter(destination__in=records).count(),
            "API tokens": ProfileToken.objects.filter(destination__in=records).count(),
        }

    def deletion_obstacles(self, records: Sequence[Destination]) -> list[str]:
        unfinished = Erasure.objects.exclude(state=ErasureState.DONE).defer("held")
        erasures = unfinished.filter(destination__in=records).select_related("destination")
        return [f"{erasure}; wait until it ends" for erasure in erasures]

    def load_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        destination = self.changeable(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        request_loads(request, Connection.objects.filter(destination=destination))
        return self.record_redirect(pk)

    def check_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        destination = self.changeable(request, pk)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        steps = _check_steps(destination, destination.namespaces())
        tested = {step.name for step in steps}
        context = {
            "title": f"Test of {destination}",
            "destination": destination,
            "steps": steps,
            "failed": _failed_step(steps),
            "untested": [name for name in STEPS if name not in tested],
        }
        return self.record_page(request, pk, "rudderhub/data/connection_test.html", context)

    def analyst_views_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Preview the views for analysts; on POST create them."""
        destination = self.changeable(request, pk)
        if request.method == "POST":
            self._create_ready_views(request, destination)
            return self.record_redirect(pk)
        planned, faults = _planned_views(destination)
        title = f"Ready-made views of {destination}"
        context = {"title": title, "planned": planned, "faults": faults}
        return self.record_page(request, pk, "rudderhub/data/analyst_views.html", context)

    def _create_ready_views(self, request: HttpRequest, destination: Destination) -> None:
        for namespace in destination.namespaces():
            try:
                config = PostgresConfig.from_config(destination.config, destination.secrets)
                names = ", ".join(create_analyst_views(config, namespace))
            except DestinationUnavailableError as error:
                messages.error(request, f"{destination} does not answer: {error}.")
                return
            except DestinationError as error:
                messages.error(request, f"{namespace}: {error}.")
            else:
                self.log_change(request, destination, f"Created {names}.")
                messages.success(request, f"Created {names}.")


def _check_steps(destination: Destination, namespaces: Sequence[str]) -> list[CheckStep]:
    """The steps of a connection test. It runs in threads, so it only queries the warehouse."""
    try:
        config = PostgresConfig.from_config(destination.config, destination.secrets)
    except DestinationError as error:
        return [CheckStep("Settings", ok=False, detail=f"{error}.")]
    steps = check_connection(config, namespaces)
    failed = _failed_step(steps)
    logger.info("checked destination=%s failed=%s", destination.pk, failed and failed.name)
    return steps


def _planned_views(
    destination: Destination,
) -> tuple[list[PlannedView], list[tuple[str, str]]]:
    """The views of all schemas, and the schemas that cannot have views, each with the reason.

    It stops at the first schema if the server does not answer.
    """
    planned: list[PlannedView] = []
    faults: list[tuple[str, str]] = []
    for namespace in destination.namespaces():
        try:
            config = PostgresConfig.from_config(destination.config, destination.secrets)
            planned += planned_analyst_views(config, namespace)
        except DestinationUnavailableError as error:
            return planned, [*faults, (namespace, str(error))]
        except DestinationError as error:
            faults.append((namespace, str(error)))
    return planned, faults


def _failed_step(steps: list[CheckStep]) -> CheckStep | None:
    return next((step for step in steps if not step.ok), None)


def _connection_cells(status: ConnectionStatus) -> tuple[object, ...]:
    error = status.connection.error
    return (
        reverse("admin:destinations_connection_change", args=[status.connection.pk]),
        status.connection.source,
        status_label(status.health.word, status.health.kind),
        f"{status.backlog.events:,}",
        error,
        advice(error).text if error else "",
    )
