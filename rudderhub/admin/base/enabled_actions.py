"""The list actions that enable and disable records."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action


class EnabledActions(ModelAdmin):
    """Adds "enable"; a page adds its opposite, which calls `set_enabled`."""

    enabled_fields: tuple[str, ...] = ("enabled", "updated_at")
    """What is saved: another field may be written by a load at the same time."""

    @action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.set_enabled(request, queryset, "Enabled", enabled=True)

    def set_enabled(
        self, request: HttpRequest, records: QuerySet[Any], done: str, *, enabled: bool
    ) -> None:
        """Save each record that changes, and audit it with `done`, such as "Paused"."""
        names = []
        for record in records.exclude(enabled=enabled):
            record.enabled = enabled
            record.save(update_fields=self.enabled_fields)
            self.log_change(request, record, f"{done}.")
            names.append(str(record))
        messages.success(request, f"{done}: {', '.join(names) or 'nothing to change'}.")
