"""The pages of erasures: requests to erase a person, their progress and receipt."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.decorators import display

from destinations.models import Destination, Erasure, ErasureState, ErasureStep
from events.protocol.masking import masked_text
from rudderhub.admin.base.columns import column, progress_column, sum_column, time_column
from rudderhub.admin.base.display import relative_time, status_label
from rudderhub.admin.base.personal_data_audit import is_refresh
from rudderhub.admin.base.read_only import ReadOnlyAdmin

KINDS = {
    ErasureState.WAITING: "wait",
    ErasureState.RUNNING: "wait",
    ErasureState.DONE: "good",
    ErasureState.FAILED: "bad",
}
MODES = {"delete": "deleted", "blank": "blanked"}
"""The fate of the warehouse rows, by mode."""


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = (
        *("number", "requested", "status", "progress", "destination", "by", "rows"),
        *("identifiers", "items"),
    )
    list_filter = ("state", "destination")
    list_select_related = ("destination",)
    empty_text = "No erasures yet. Enter an identifier above, or open a profile and choose Erase."
    fields = readonly_fields = (
        *("status", "destination", "requested", "ended", "by", "reason", "rows", "identifiers"),
        "receipt",
    )
    change_form_outer_before_template = "rudderhub/people/erasure_bar.html"

    holds_personal_data = True
    personal_fields = ("reason", "error", "held", "keys")
    list_before_template = "rudderhub/people/erase_bar.html"

    requested = time_column("created_at", "requested")
    ended = time_column("finished_at", "done", "not yet")
    progress = progress_column
    number = column("pk", "request", str)
    by = column("actor", "by", str)
    rows = column("mode", "warehouse rows", lambda mode: MODES.get(mode, mode))
    identifiers = column("keys", "identifiers", len)
    items = sum_column("counts", "items")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "destinations": Destination.objects.all()}
        return super().changelist_view(request, context)

    def record_context(self, request: HttpRequest, record: Erasure) -> dict[str, Any]:
        return {
            **super().record_context(request, record),
            "progress": self.progress(record),
            "next_retry": relative_time(record.retry_at),
            "step": ErasureStep(record.step).label,
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Erasure]:
        return super().get_queryset(request).defer("held")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Masks the reason in requests that refresh the progress, because they are not audited."""
        erasure = super().get_object(request, object_id, from_field)
        if erasure is not None and is_refresh(request):
            erasure.reason = masked_text(erasure.reason)
        return erasure

    def audit_read(self, request: HttpRequest, record: Any) -> None:
        if not is_refresh(request):
            super().audit_read(request, record)

    def mask(self, record: Erasure) -> None:
        """A reason may name a person, and an error may quote values from a database."""
        record.reason, record.error = masked_text(record.reason), masked_text(record.error)

    @display(description="state")
    def status(self, erasure: Erasure) -> SafeString:
        return status_label(erasure.get_state_display().lower(), KINDS[ErasureState(erasure.state)])

    @display(description="counts by table")
    def receipt(self, erasure: Erasure) -> SafeString:
        counts = ((table, f"{count:,}") for table, count in sorted(erasure.counts.items()))
        row = '<tr><td><code>{}</code></td><td class="rh-number">{}</td></tr>'
        rows = format_html_join("", row, counts)
        return format_html('<table class="rh-table">{}</table>', rows)
