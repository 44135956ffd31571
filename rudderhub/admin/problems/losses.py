"""The pages of losses: events that retention dropped before they were loaded."""

from __future__ import annotations

from django.contrib import admin

from events.models import Loss
from rudderhub.admin.base.columns import column, number_column, time_column
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

    number = number_column("events", "events")
    first = number_column("first_id", "first event of the log")
    last = number_column("last_id", "last event of the log")
    recorded = time_column("created_at", "recorded")
    date = column("day", "day", "{:%Y-%m-%d}".format, "day")
