from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from events import reruns
from events.admin.readonly import ReadOnlyAdmin
from events.masking import PERMISSION, masked_json
from events.models import Quarantined
from events.reruns import AcceptedBeforeError, Outcome
from sources.display import json_block, label, when


@admin.register(Quarantined)
class QuarantinedAdmin(ReadOnlyAdmin):
    list_display = ("time", "source", "status", "route", "problem", "size", "state")
    list_filter = ("source", "status", ("accepted_at", admin.EmptyFieldListFilter))
    list_select_related = ("source",)
    search_fields = ("reason", "route")
    search_help_text = "Reason or route"
    empty_text = (
        "No request of a known source was refused. One with an unknown key gets a 401 only."
    )
    fields = readonly_fields = ("reason", "source", "status", "route", "time", "size", "state")
    actions = ("send_again",)  # type: ignore[assignment]
    change_form_outer_after_template = "events/send_again_bar.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Quarantined]:
        return Quarantined.objects.order_by("-id").defer("body")

    @display(description="time")
    def time(self, refused: Quarantined) -> SafeString:
        return when(refused.received_at)

    @display(description="reason")
    def problem(self, refused: Quarantined) -> SafeString:
        return format_html(
            '<span class="rh-clip" title="{}">{}</span>', refused.reason, refused.reason
        )

    @display(description="bytes")
    def size(self, refused: Quarantined) -> str:
        return f"{refused.body_bytes:,}"

    @display(description="state")
    def state(self, refused: Quarantined) -> SafeString:
        if refused.accepted_at is None:
            return label("refused", "bad")
        return format_html("{} {}", label("sent again", "good"), when(refused.accepted_at))

    holds_personal_data = True

    def hide(self, record: Quarantined) -> None:
        record.body = masked_json(bytes(record.body).decode(errors="replace")).encode()
        record.body_bytes = len(record.body)

    def parts(self, request: HttpRequest, record: Quarantined) -> list[tuple[str, SafeString]]:
        return [("Body", _body(record))]

    @action(description="Send again as they are", permissions=["send_again"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Quarantined]) -> None:
        """For what is right by now: a limit was raised, a source was switched on."""
        accepted, refused = 0, 0
        for record in queryset.filter(accepted_at=None).order_by("id"):
            outcome = self._send(request, record, None)
            accepted += outcome.accepted
            refused += not outcome.accepted
        level = messages.WARNING if refused else messages.SUCCESS
        text = f"Sent again: {accepted} accepted, {refused} refused"
        self.message_user(request, f"{text}; the history of each says why.", level)

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms(["events.change_quarantined", PERMISSION])

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = dict(extra_context or {})
        if self.has_send_again_permission(request) and object_id.isdigit():
            context["send_again_url"] = reverse(
                "admin:events_quarantined_send_again", args=[object_id]
            )
        return super().change_view(request, object_id, form_url, context)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.send_again_view)
        name = "events_quarantined_send_again"
        return [path("<int:pk>/send-again/", view, name=name), *super().get_urls()]

    def send_again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Shows the body, sends it by its route, shows the answer."""
        if not self.has_send_again_permission(request):
            raise PermissionDenied
        record = get_object_or_404(Quarantined.objects.select_related("source"), pk=pk)
        back = reverse("admin:events_quarantined_change", args=[pk])
        kept = bytes(record.body)
        body, outcome = _text(kept), None
        if request.method == "POST":
            body = request.POST.get("body", "").replace("\r\n", "\n")
            unchanged = body == _text(kept).replace("\r\n", "\n")
            try:
                outcome = self._send(request, record, None if unchanged else body.encode())
            except AcceptedBeforeError:
                messages.warning(request, "It was sent again and accepted before.")
                return HttpResponseRedirect(back)
            if outcome.accepted:
                messages.success(request, f"Accepted: {outcome.answer}")
                return HttpResponseRedirect(back)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Send again",
            "refused": record,
            "body": body,
            "cut": len(kept) < record.body_bytes,
            "outcome": outcome,
            "back": back,
        }
        return TemplateResponse(request, "events/send_again.html", context)

    def _send(self, request: HttpRequest, record: Quarantined, body: bytes | None) -> Outcome:
        outcome = reruns.send_again(record.pk, body)
        how = "as it was" if body is None else "edited"
        self.log_change(request, record, f"Sent again {how}: {outcome.status} {outcome.answer}")
        return outcome


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="backslashreplace")


def _body(refused: Quarantined) -> SafeString:
    body = bytes(refused.body)
    shown = json_block(_text(body))
    if len(body) >= refused.body_bytes:
        return shown
    return format_html(
        "<p>Only the first {} of {} bytes were kept.</p>{}",
        f"{len(body):,}",
        f"{refused.body_bytes:,}",
        shown,
    )
