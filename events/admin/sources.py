from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display
from unfold.views import ChangeList

from events.rates import newest_by_source
from sources.admin import SourceAdmin
from sources.display import when
from sources.models import Source

WINDOW = 20_000


class SourceChangeList(ChangeList):
    """One look at the end of the log for all sources of the page."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        newest = newest_by_source(WINDOW)
        for source in self.result_list:
            source.last_event_at = newest.get(source.pk)


admin.site.unregister(Source)


@admin.register(Source)
class LoggedSourceAdmin(SourceAdmin):
    """The admin of sources, which knows no log, with what the log says of them."""

    list_display = ("name", "kind", "on", "last_event", "active_keys", "feeds")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[SourceChangeList]:
        return SourceChangeList

    @display(description="last event")
    def last_event(self, source: Source) -> SafeString:
        moment = source.last_event_at  # type: ignore[attr-defined]
        if moment:
            return when(moment)
        return format_html(
            '<span title="Only the newest {} events of the log are looked at">none lately</span>',
            f"{WINDOW:,}",
        )
