"""The pages of losses: events that retention dropped before they were loaded."""

from __future__ import annotations

from django.contrib import admin
from unfold.decorators import display

from events.models import Loss
from rudderhub.admin.base.display import relative_time
from rudderhub.admin.base.read_only import ReadOnlyAdmin


@admin.register(Loss)
class LossAdmin(ReadOnlyAdmin):
    list_display = ("date", "connection", "number", "recorded", "reason")
    list_filter = ("connection",)
    list_select_related = ("connection__source", "connection__destination")
    empty_text = "No losses. Retention has not dropped any event before it was loaded."
    fields = readonly_fields = (
        *("date", "connection", "number", "first", "last", "recorded", "reason"),
    )

    @display(description="day", ordering="day")
    def date(self, loss: Loss) -> str:
        return f"{loss.day:%Y-%m-%d}"

    @display(description="events")
    def number(self, loss: Loss) -> str:
        return f"{loss.events:,}"

    @display(description="first event of the log")
    def first(self, loss: Loss) -> str:
        return f"{loss.first_id:,}"

    @display(description="last event of the log")
    def last(self, loss: Loss) -> str:
        return f"{loss.last_id:,}"

    @display(description="recorded")
    def recorded(self, loss: Loss) -> str:
        return relative_time(loss.created_at)
