"""The form of a connection."""

from __future__ import annotations

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget

from destinations.models import Connection, FilterMode
from rudderhub.admin.base.lines_field import LinesField


class ConnectionForm(forms.ModelForm):  # type: ignore[type-arg]
    filtered_events = LinesField(
        label="Events",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=(
            "One per line: the name of a track event, or a type such as page or identify. Without "
            "identify and merge events, fewer identifiers are linked. Applies to events loaded "
            "from now on. Other events are counted as skipped, and a replay can load them later."
        ),
    )

    class Meta:
        model = Connection
        fields = ("source", "destination", "enabled", "start", "filter_mode", "filtered_events")

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        mode = data.get("filter_mode", FilterMode.ALL)
        if mode != FilterMode.ALL and not data.get("filtered_events"):
            self.add_error("filtered_events", "Enter at least one event, or choose all events.")
        return data
