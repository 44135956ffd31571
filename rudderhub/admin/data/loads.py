"""The pages of loads."""

from __future__ import annotations

from typing import NamedTuple

from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from events.loads.advice import advice
from events.models import Load, LoadState
from rudderhub.admin.base.columns import (
    column,
    copyable_column,
    number_column,
    skip_reasons_column,
    sum_column,
    time_column,
    warnings_column,
)
from rudderhub.admin.base.display import clipped_text, count_text, duration_text, status_label
from rudderhub.admin.base.read_only import ReadOnlyAdmin

KINDS = {
    LoadState.RUNNING: "wait",
    LoadState.SUCCEEDED: "good",
    LoadState.WAITING: "wait",
    LoadState.FAILED: "bad",
}

AFTERWARDS = {
    LoadState.RUNNING: "The load continues.",
    LoadState.SUCCEEDED: "The load continued.",
    LoadState.WAITING: "The next load starts automatically at the same event.",
    LoadState.FAILED: "The next load starts at the same event. To start it now, use Retry now.",
}
MOST_COLUMNS = 20
RUN_FIELDS = (("connection", "status"), ("started", "duration"), ("after", "upto"), "number")
RESULT_FIELDS = (
    ("events", "skipped"),
    ("letters", "discards"),
    "skipped_for",
    "tables",
    "warnings_text",
)


class TableDetail(NamedTuple):
    name: str
    rows: int
    repeated: int
    discards: int
    new: str


@admin.register(Load)
class LoadAdmin(ReadOnlyAdmin):
    paginator = InfinitePaginator
    list_fullwidth = True
    empty_text = "No loads yet. A load starts automatically when a connected source has events."
    list_display = (
        *("started", "status", "pair", "duration", "events", "row_count", "additions"),
        *("unloaded", "problem"),
    )
    list_filter = ("state", "connection")
    search_fields = ("error",)
    search_help_text = "Any text of an error"
    change_form_outer_before_template = "rudderhub/data/load_again_bar.html"
    list_select_related = ("connection__source", "connection__destination")
    fieldsets = (
        (None, {"fields": RUN_FIELDS}),
        ("Results", {"fields": RESULT_FIELDS}),
        ("Error", {"fields": ("error_class", "advice")}),
    )
    readonly_fields = flatten((*RUN_FIELDS, *RESULT_FIELDS, "error_class", "advice"))

    started = time_column("started_at", "started")
    after = number_column("after_id", "cursor before")
    upto = number_column("upto_id", "cursor after")
    number = copyable_column("pk", "load id")
    skipped_for = skip_reasons_column
    warnings_text = warnings_column
    pair = column("connection", "connection", str)
    row_count = sum_column("rows", "rows")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Load]:
        return Load.objects.order_by("-id")

    @display(description="state")
    def status(self, load: Load) -> SafeString:
        return status_label(
            load.get_state_display().partition(":")[0].lower(), KINDS[LoadState(load.state)]
        )

    @display(description="took")
    def duration(self, load: Load) -> str:
        until = load.finished_at or timezone.now()
        if load.error and load.upto_id == load.after_id:
            return f"retrying for {duration_text(load.started_at, until)}"
        seconds = (until - load.started_at).total_seconds()
        return f"{seconds:,.1f} s" + ("" if load.finished_at else " so far")

    @display(description="not loaded", empty_value="-")
    def unloaded(self, load: Load) -> str | None:
        counts = (
            (load.dead_letters, "dead letter"),
            (load.skipped, "skipped event"),
            (load.discards, "discarded value"),
            (sum(load.repeated.values()), "repeated row"),
        )
        return ", ".join(count_text(number, noun) for number, noun in counts if number) or None

    @display(description="new", empty_value="-")
    def additions(self, load: Load) -> str | None:
        tables = sum(not columns for columns in load.added.values())
        columns = sum(map(len, load.added.values()))
        counts = ((tables, "table"), (columns, "column"))
        return ", ".join(count_text(number, noun) for number, noun in counts if number) or None

    @display(description="error", empty_value="-")
    def problem(self, load: Load) -> SafeString | None:
        if not load.error:
            return None
        kind = status_label(advice(load.error).kind, "bad")
        return format_html("{} {}", kind, clipped_text(load.error))

    @display(description="rows by table")
    def tables(self, load: Load) -> SafeString:
        context = {"tables": _table_details(load), "connection": load.connection}
        return SafeString(render_to_string("rudderhub/data/load_tables.html", context))

    @display(description="dead letters")
    def letters(self, load: Load) -> SafeString | str:
        if not load.dead_letters:
            return "0"
        url = reverse("admin:events_deadletter_changelist")
        query = (
            f"?state=all&connection__id__exact={load.connection_id}"
            f"&event_id__gt={load.after_id}&event_id__lte={load.upto_id}"
        )
        return format_html(
            '<a class="rh-link" href="{}">{}</a>', url + query, f"{load.dead_letters:,}"
        )

    @display(description="class", empty_value="-")
    def error_class(self, load: Load) -> SafeString | None:
        return status_label(advice(load.error).kind, "bad") if load.error else None

    @display(description="details")
    def advice(self, load: Load) -> str:
        if not load.error:
            return "None."
        return f"{load.error}\n{advice(load.error).text}\n{_next_load_text(load)} Nothing is lost."


def _next_load_text(load: Load) -> str:
    connection, now = load.connection, timezone.now()
    if Load.objects.filter(connection=connection, pk__gt=load.pk).exists():
        return "A later load continued at the same event."
    if not connection.enabled or not connection.destination.enabled:
        return (
            "The next load waits because the connection is paused or its destination is disabled."
        )
    if connection.is_waiting(now) and connection.retry_at:
        return f"The next load starts automatically in {duration_text(now, connection.retry_at)}."
    return AFTERWARDS[LoadState(load.state)]


def _table_details(load: Load) -> list[TableDetail]:
    """Counts by table, the table with the most rows first."""
    names = {*load.rows, *load.repeated, *load.discarded, *load.added}
    details = [
        TableDetail(
            name,
            load.rows.get(name, 0),
            load.repeated.get(name, 0),
            load.discarded.get(name, 0),
            _new_columns_text(load.added[name]) if name in load.added else "",
        )
        for name in names
    ]
    return sorted(details, key=lambda detail: (-detail.rows, detail.name))


def _new_columns_text(columns: list[str]) -> str:
    if not columns:
        return "the table"
    more = f" and {len(columns) - MOST_COLUMNS} more" if len(columns) > MOST_COLUMNS else ""
    return "columns " + ", ".join(columns[:MOST_COLUMNS]) + more
