"""The pages of erasures, API tokens and self-checks of the identities."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from destinations.models import (
    Destination,
    Erasure,
    ErasureState,
    ErasureStep,
    IdentityCheck,
    ProfileToken,
)
from events.people.api import new_token
from events.protocol.masking import masked_text
from rudderhub.admin.base.confirmation import (
    Affected,
    Confirmation,
    confirmation_page,
    confirmed_note,
)
from rudderhub.admin.base.display import (
    copy_button,
    count_text,
    progress_bar,
    relative_time,
    status_label,
)
from rudderhub.admin.base.personal_data_audit import is_refresh
from rudderhub.admin.base.read_only import ReadOnlyAdmin

KINDS = {
    ErasureState.WAITING: "wait",
    ErasureState.RUNNING: "wait",
    ErasureState.DONE: "good",
    ErasureState.FAILED: "bad",
}
MODES = {"delete": "deleted", "blank": "blanked"}
"""What happens to the rows in the warehouse, by mode."""
REVOKE = Confirmation(
    title="Revoke API tokens",
    yes="Revoke them",
    text=(
        "Requests with these tokens are refused from now on. This cannot be undone; add new "
        "tokens instead."
    ),
)


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    list_display = (
        *("number", "made", "status", "progress", "destination", "by", "rows"),
        *("identifiers", "items"),
    )
    list_filter = ("state", "destination")
    list_select_related = ("destination",)
    empty_text = "No erasures yet. Enter an identifier above, or open a profile and choose Erase."
    fields = readonly_fields = (
        *("status", "destination", "made", "ended", "by", "reason", "rows", "identifiers"),
        "receipt",
    )
    change_form_outer_before_template = "rudderhub/people/erasure_bar.html"

    holds_personal_data = True
    personal_fields = ("reason", "error", "held", "keys")
    list_before_template = "rudderhub/people/erase_bar.html"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {**(extra_context or {}), "destinations": Destination.objects.all()}
        return super().changelist_view(request, context)

    def record_context(self, request: HttpRequest, record: Erasure) -> dict[str, Any]:
        return {
            **super().record_context(request, record),
            "progress": self.progress(record),
            "next_try": relative_time(record.retry_at),
            "step": ErasureStep(record.step).label,
        }

    def get_queryset(self, request: HttpRequest) -> QuerySet[Erasure]:
        return super().get_queryset(request).defer("held")

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Masks the reason in the requests that refresh the progress: those are not audited."""
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

    @display(description="request")
    def number(self, erasure: Erasure) -> str:
        return f"{erasure.pk}"

    @display(description="requested")
    def made(self, erasure: Erasure) -> SafeString:
        return relative_time(erasure.created_at)

    @display(description="done")
    def ended(self, erasure: Erasure) -> SafeString:
        return relative_time(erasure.finished_at, never="not yet")

    @display(description="state")
    def status(self, erasure: Erasure) -> SafeString:
        return status_label(erasure.get_state_display().lower(), KINDS[ErasureState(erasure.state)])

    @display(description="progress")
    def progress(self, erasure: Erasure) -> SafeString:
        return progress_bar(erasure.percent)

    @display(description="by")
    def by(self, erasure: Erasure) -> str:
        return erasure.actor

    @display(description="warehouse rows")
    def rows(self, erasure: Erasure) -> str:
        return MODES.get(erasure.mode, erasure.mode)

    @display(description="identifiers")
    def identifiers(self, erasure: Erasure) -> int:
        return len(erasure.keys)

    @display(description="items")
    def items(self, erasure: Erasure) -> str:
        return f"{sum(erasure.counts.values()):,}"

    @display(description="counts by table")
    def receipt(self, erasure: Erasure) -> SafeString:
        counts = ((table, f"{n:,}") for table, n in sorted(erasure.counts.items()))
        row = '<tr><td><code>{}</code></td><td class="rh-number">{}</td></tr>'
        rows = format_html_join("", row, counts)
        return format_html('<table class="rh-table">{}</table>', rows)


@admin.register(IdentityCheck)
class IdentityCheckAdmin(ReadOnlyAdmin):
    list_display = ("made", "destination", "result")
    list_select_related = ("destination",)
    empty_text = "No self-checks yet. They run every night."
    fields = readonly_fields = ("destination", "made", "result", "listed")

    @display(description="checked")
    def made(self, check: IdentityCheck) -> SafeString:
        return relative_time(check.created_at)

    @display(description="result")
    def result(self, check: IdentityCheck) -> SafeString:
        count = len(check.differences)
        if not count:
            return status_label("correct", "good")
        return status_label(count_text(count, "difference"), "bad")

    @display(description="differences")
    def listed(self, check: IdentityCheck) -> SafeString:
        return format_html(
            '<pre class="rh-code rh-wrap" tabindex="0">{}</pre>',
            "\n".join(check.differences) or "none",
        )


@admin.register(ProfileToken)
class ProfileTokenAdmin(ModelAdmin):
    list_display = ("name", "destination", "made", "state")
    list_select_related = ("destination",)
    fields = ("destination", "name")
    actions = ("revoke",)
    empty_text = "A token gives access to the profiles of one destination over HTTP. Add one."

    @display(description="created")
    def made(self, token: ProfileToken) -> SafeString:
        return relative_time(token.created_at)

    @display(description="state")
    def state(self, token: ProfileToken) -> SafeString:
        return status_label("active", "good") if token.is_active else status_label("revoked", "off")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("made", "state") if obj else ()

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (*self.fields, *self.get_readonly_fields(request, obj))

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: ProfileToken, form: Any, change: bool) -> None:
        made, text = new_token(obj.destination, obj.name)
        obj.pk, obj.digest = made.pk, made.digest
        shown = format_html(
            "Copy the token now. It is not shown again: {} {}", text, copy_button(text)
        )
        messages.warning(request, shown)

    @action(description="Revoke…", permissions=["delete"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ProfileToken]) -> HttpResponse | None:
        active = queryset.filter(revoked_at=None).select_related("destination")
        if confirmed_note(request, REVOKE) is None:
            rows = [(token.name, token.destination, self.made(token)) for token in active]
            return confirmation_page(
                self, request, REVOKE, Affected(("Token", "Destination", "Created"), rows)
            )
        for token in active:
            token.revoked_at = timezone.now()
            token.save(update_fields=["revoked_at"])
            self.log_change(request, token, "Revoked.")
            messages.success(request, f"Revoked {token}.")
        return None
