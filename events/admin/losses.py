from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from events.admin.readonly import ReadOnlyAdmin
from events.models import Loss
from sources.display import when


@admin.register(Loss)
class LossAdmin(ReadOnlyAdmin):
    list_display = ("day", "connection", "events", "recorded", "reason")
    list_filter = ("connection",)
    list_select_related = ("connection__source", "connection__destination")
    empty_text = "Retention has dropped no event that a connection had not loaded."
    fields = readonly_fields = (
        *("day", "connection", "events", "first_id", "last_id", "recorded", "reason"),
    )

    @display(description="recorded")
    def recorded(self, loss: Loss) -> str:
        return when(loss.created_at)
