"""The list actions and the column of records that can be enabled and disabled."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import action

from rudderhub.admin.base.columns import switch_column


class EnabledActions(ModelAdmin):
    """Adds the action "enable"; a subclass adds its opposite, which calls `set_enabled`."""

    enabled_fields: tuple[str, ...] = ("enabled", "updated_at")
    """The fields that are saved; a load may write the other fields at the same time."""

    state = switch_column("enabled", "state", "enabled")

    @action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        self.set_enabled(request, queryset, "Enabled", enabled=True)

    def set_enabled(
        self, request: HttpRequest, records: QuerySet[Any], done: str, *, enabled: bool
    ) -> None:
        """Save each record that changes, and audit it with the text `done`, such as "Paused"."""
        names = []
        for record in records.exclude(enabled=enabled):
            record.enabled = enabled
            record.save(update_fields=self.enabled_fields)
            self.log_change(request, record, f"{done}.")
            names.append(str(record))
        messages.success(request, f"{done}: {', '.join(names) or 'nothing to change'}.")
