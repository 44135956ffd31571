from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from events.admin.readonly import ReadOnlyAdmin
from events.masking import masked_json
from events.models import DeadLetter, Event
from sources.display import copyable, json_block, when


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = ("since", "connection", "message_id", "problem")
    list_filter = ("connection",)
    list_select_related = ("connection__source", "connection__destination")
    search_fields = ("message_id", "reason")
    search_help_text = "Message id or reason"
    empty_text = "Every event that was taken up could be loaded."
    fields = readonly_fields = ("reason", "connection", "since", "message", "live")

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return DeadLetter.objects.order_by("-id").defer("payload")

    @display(description="since")
    def since(self, letter: DeadLetter) -> SafeString:
        return when(letter.created_at)

    @display(description="reason")
    def problem(self, letter: DeadLetter) -> SafeString:
        return format_html(
            '<span class="rh-clip" title="{}">{}</span>', letter.reason, letter.reason
        )

    @display(description="message id")
    def message(self, letter: DeadLetter) -> SafeString:
        return copyable(letter.message_id)

    @display(description="event")
    def live(self, letter: DeadLetter) -> SafeString:
        if not Event.objects.filter(pk=letter.event_id).exists():
            return format_html("{}", "No longer in the log; the payload below is kept.")
        url = reverse("admin:events_event_change", args=[letter.event_id])
        return format_html('<a class="rh-link" href="{}">Open the trace</a>', url)

    holds_personal_data = True

    def hide(self, record: DeadLetter) -> None:
        record.payload = masked_json(record.payload)

    def parts(self, record: DeadLetter) -> list[tuple[str, SafeString]]:
        return [("Payload", json_block(record.payload))]
