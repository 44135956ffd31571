from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.paginator import InfinitePaginator

from events.admin.readonly import ReadOnlyAdmin
from events.models import Load, LoadState
from sources.display import by_reason, label, when

KINDS = {
    LoadState.RUNNING: "wait",
    LoadState.SUCCEEDED: "good",
    LoadState.WAITING: "wait",
    LoadState.FAILED: "bad",
}

ADVICE = {
    LoadState.RUNNING: "The load goes on.",
    LoadState.SUCCEEDED: "The load went on.",
    LoadState.WAITING: "The destination did not answer; the next load starts at the same event.",
    LoadState.FAILED: "Change what stands in the way, then press Load now at the connection.",
}


@admin.register(Load)
class LoadAdmin(ReadOnlyAdmin):
    paginator = InfinitePaginator
    list_fullwidth = True
    empty_text = (
        "Nothing was loaded yet. A load starts by itself once a connected source has events."
    )
    list_display = (
        *("started", "status", "pair", "took", "events", "row_count", "left_out", "problem"),
    )
    list_filter = ("state", "connection")
    list_select_related = ("connection__source", "connection__destination")
    fieldsets = (
        (
            None,
            {"fields": (("connection", "status"), ("started", "took"), ("after_id", "upto_id"))},
        ),
        (
            "What it moved",
            {
                "fields": (
                    ("events", "skipped"),
                    ("dead_letters", "discards"),
                    "skipped_for",
                    "tables",
                    "warned",
                )
            },
        ),
        ("Error", {"fields": ("advice",)}),
    )
    readonly_fields = (
        *("connection", "status", "started", "took", "after_id", "upto_id"),
        *("events", "skipped", "dead_letters", "discards", "skipped_for", "tables", "warned"),
        "advice",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Load]:
        return Load.objects.order_by("-id")

    @display(description="started")
    def started(self, load: Load) -> SafeString:
        return when(load.started_at)

    @display(description="state")
    def status(self, load: Load) -> SafeString:
        return label(
            load.get_state_display().partition(":")[0].lower(), KINDS[LoadState(load.state)]
        )

    @display(description="took")
    def took(self, load: Load) -> str:
        seconds = ((load.finished_at or timezone.now()) - load.started_at).total_seconds()
        return f"{seconds:,.1f} s" + ("" if load.finished_at else " so far")

    @display(description="connection")
    def pair(self, load: Load) -> SafeString:
        return format_html('<span class="rh-nowrap">{}</span>', load.connection)

    @display(description="not loaded", empty_value="-")
    def left_out(self, load: Load) -> str | None:
        counts = (
            (load.dead_letters, "dead letters"),
            (load.skipped, "skipped"),
            (load.discards, "values discarded"),
        )
        return ", ".join(f"{name}: {count:,}" for count, name in counts if count) or None

    @display(description="rows")
    def row_count(self, load: Load) -> str:
        return f"{sum(load.rows.values()):,}"

    @display(description="error", empty_value="-")
    def problem(self, load: Load) -> SafeString | None:
        return (
            format_html('<span class="rh-clip" title="{}">{}</span>', load.error, load.error)
            if load.error
            else None
        )

    @display(description="rows by table")
    def tables(self, load: Load) -> SafeString:
        rows = sorted(load.rows.items(), key=lambda item: (-item[1], item[0]))
        return SafeString(render_to_string("events/rows.html", {"rows": rows}))

    @display(description="skipped because", empty_value="-")
    def skipped_for(self, load: Load) -> str | None:
        return by_reason(load.skip_reasons)

    @display(description="warnings", empty_value="-")
    def warned(self, load: Load) -> str | None:
        return "\n".join(load.warnings) or None

    @display(description="what happened")
    def advice(self, load: Load) -> str:
        if not load.error:
            return "None."
        return f"{load.error}\n{ADVICE[LoadState(load.state)]} Nothing is lost."
