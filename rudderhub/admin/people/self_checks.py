"""The pages of self-checks: nightly comparisons of the identities with their links."""

from __future__ import annotations

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from destinations.models import IdentityCheck
from rudderhub.admin.base.columns import time_column
from rudderhub.admin.base.display import count_text, status_label
from rudderhub.admin.base.read_only import ReadOnlyAdmin


@admin.register(IdentityCheck)
class IdentityCheckAdmin(ReadOnlyAdmin):
    list_display = ("checked", "destination", "result")
    list_select_related = ("destination",)
    empty_text = "No self-checks yet. They run every night."
    fields = readonly_fields = ("destination", "checked", "result", "difference_list")

    checked = time_column("created_at", "checked")

    @display(description="result")
    def result(self, check: IdentityCheck) -> SafeString:
        count = len(check.differences)
        if not count:
            return status_label("correct", "good")
        return status_label(count_text(count, "difference"), "bad")

    @display(description="difference_list")
    def difference_list(self, check: IdentityCheck) -> SafeString:
        return format_html(
            '<pre class="rh-code rh-wrap" tabindex="0">{}</pre>',
            "\n".join(check.differences) or "none",
        )
