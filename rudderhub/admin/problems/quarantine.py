"""The pages of the quarantine: refused requests that users send again, discard or export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import (
    BinaryField,
    Count,
    F,
    Func,
    IntegerField,
    Min,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display

from events.gateway import quarantine, resend
from events.gateway.operator_request import Outcome
from events.gateway.resend import AlreadyAcceptedError
from events.models import Quarantined
from events.protocol.masking import PERMISSION, masked_json
from events.workers import queue
from events.workers.errors import fingerprint
from rudderhub.admin.base.columns import clipped_column, number_column, time_column
from rudderhub.admin.base.confirmation import (
    Affected,
    Confirmation,
    confirmation_page,
    confirmed_note,
)
from rudderhub.admin.base.display import count_text, json_block, relative_time, status_label
from rudderhub.admin.base.read_only import ReadOnlyAdmin
from rudderhub.admin.problems.open_state_filter import OpenStateFilter
from sources.models import Source

SEARCHED_BODIES = 2_000
"""The number of newest requests in which a search also reads the bodies."""
MOST_GROUPS = 50
SEND_AGAIN = Confirmation(
    title="Send refused requests again",
    yes="Send them again",
    text=(
        "Use this after you have fixed the cause. A worker checks and stores each request "
        "unchanged, with its original time and address, the oldest first."
    ),
)
DISCARD = Confirmation(
    title="Discard refused requests",
    yes="Discard them",
    text=(
        "They leave this list. The filter State shows them with your name, the time and your note "
        "until retention deletes them."
    ),
    takes_note=True,
)


class RefusedStateFilter(OpenStateFilter):
    open_label = "Refused"
    closed_states = (("sent", "Sent again"), ("discarded", "Discarded"))

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[Quarantined]
    ) -> QuerySet[Quarantined]:
        match self.value():
            case "all":
                return queryset
            case "sent":
                return queryset.exclude(accepted_at=None)
            case "discarded":
                return queryset.exclude(discarded_at=None)
        return quarantine.open_requests(queryset)


@admin.register(Quarantined)
class QuarantinedAdmin(ReadOnlyAdmin):
    list_display = ("time", "source", "status", "route", "problem", "size", "state")
    list_filter = (RefusedStateFilter, "source", "status")
    list_select_related = ("source",)
    search_fields = ("reason", "route")
    search_help_text = "Reason, route, or any text of a body, such as a message id"
    masked_search_fields = ("route",)
    masked_search_help_text = "Route"
    personal_fields = ("reason", "body", "circumstances", "note")
    empty_text = (
        "No open requests. Requests with an unknown write key get a 401 and are not kept. Use the "
        "filter State to see requests that were sent again or discarded."
    )
    fields = readonly_fields = (
        *("state", "reason", "source", "status", "route", "time", "size"),
        "discarded",
    )
    actions = ("send_again", "discard", "export")  # type: ignore[assignment]
    change_form_outer_after_template = "rudderhub/problems/send_again_bar.html"
    list_before_template = "rudderhub/problems/sending_bar.html"

    time = time_column("received_at", "time")
    problem = clipped_column("reason", "reason")
    size = number_column("body_bytes", "bytes")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        batches = resend.recent_batches(timezone.now())
        context = {"batches": batches, "is_sending": any(batch.waiting for batch in batches)}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def get_queryset(self, request: HttpRequest) -> QuerySet[Quarantined]:
        return Quarantined.objects.order_by("-id").defer("body")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Quarantined], search_term: str
    ) -> tuple[QuerySet[Quarantined], bool]:
        """Also the requests with the text in their body, among the newest."""
        matches, _ = super().get_search_results(request, queryset, search_term)
        if not search_term.strip() or not request.user.has_perm(PERMISSION):
            return matches, False
        newest = queryset.order_by("-id").values("pk")[:SEARCHED_BODIES]
        bodies = Quarantined.objects.annotate(at=_body_position(search_term.strip()))
        bodies = bodies.filter(pk__in=Subquery(newest), at__gt=0)
        fields = matches.order_by().values("pk")
        return queryset.filter(Q(pk__in=fields) | Q(pk__in=bodies.values("pk"))), False

    @display(description="state")
    def state(self, refused: Quarantined) -> SafeString:
        if refused.accepted_at:
            return format_html(
                "{} {}", status_label("sent again", "good"), relative_time(refused.accepted_at)
            )
        if refused.is_waiting:
            return status_label("to be sent again", "wait")
        if refused.discarded_at:
            return format_html(
                "{} {}", status_label("discarded", "off"), relative_time(refused.discarded_at)
            )
        return status_label("refused", "bad")

    @display(description="discarded", empty_value="-")
    def discarded(self, refused: Quarantined) -> str | None:
        return f"by {refused.discarded_by}: {refused.note}" if refused.discarded_at else None

    holds_personal_data = lists_personal_data = True

    def mask_listed(self, record: Quarantined) -> None:
        record.reason = fingerprint(record.reason)

    def mask(self, record: Quarantined) -> None:
        self.mask_listed(record)
        record.body = masked_json(bytes(record.body).decode(errors="replace")).encode()
        record.body_bytes = len(record.body)

    def parts(self, request: HttpRequest, record: Quarantined) -> list[tuple[str, SafeString]]:
        return [("Body", _body_block(record))]

    @action(description="Send again as they are…", permissions=["send_again"])
    def send_again(
        self, request: HttpRequest, queryset: QuerySet[Quarantined]
    ) -> HttpResponse | None:
        """Queue the chosen requests for a worker that sends them again unchanged."""
        chosen = quarantine.open_requests(queryset)
        if confirmed_note(request, SEND_AGAIN) is None:
            return confirmation_page(self, request, SEND_AGAIN, _affected(chosen))
        count = resend.mark_waiting(chosen, request.user.pk)
        queue.try_enqueue(0, queue.Work.QUARANTINE)
        requests = count_text(count, "refused request")
        self.message_user(
            request, f"A worker is sending {requests} again. See the progress above the list."
        )
        return None

    @action(description="Discard with a note…", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Quarantined]) -> HttpResponse | None:
        chosen = quarantine.open_requests(queryset)
        note = confirmed_note(request, DISCARD)
        if note is None:
            return confirmation_page(self, request, DISCARD, _affected(chosen))
        for source in Source.objects.filter(pk__in=chosen.order_by().values("source")):
            count = quarantine.discard_requests(
                chosen.filter(source=source), request.user.get_username(), note
            )
            requests = count_text(count, "refused request")
            self.log_change(request, source, f"Discarded {requests}: {note}")
            self.message_user(request, f"Discarded {count:,} of {source}.")
        return None

    @action(description="Export as JSON lines", permissions=["export"])
    def export(
        self, request: HttpRequest, queryset: QuerySet[Quarantined]
    ) -> StreamingHttpResponse:
        chosen = queryset.defer(None)
        for source in Source.objects.filter(pk__in=chosen.order_by().values("source")):
            count = chosen.filter(source=source).count()
            self.log_change(request, source, f"Exported {count_text(count, 'refused request')}.")
        return StreamingHttpResponse(
            quarantine.json_lines(chosen),
            content_type="application/x-ndjson",
            headers={"Content-Disposition": 'attachment; filename="quarantine.jsonl"'},
        )

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("events.change_quarantined")

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms(["events.view_quarantined", PERMISSION])

    def has_send_again_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms(["events.change_quarantined", PERMISSION])

    def record_context(self, request: HttpRequest, record: Quarantined) -> dict[str, Any]:
        context = super().record_context(request, record)
        if self.has_send_again_permission(request):
            context["send_again_url"] = self.record_url("send_again", record.pk)
        if self.has_discard_permission(request):
            context["discard_url"] = self.record_url("discard", record.pk)
        return context

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        return {"send-again": self.send_again_view, "discard": self.discard_view}

    def discard_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_discard_permission(request):
            raise PermissionDenied
        confirmation = self.discard(request, self.get_queryset(request).filter(pk=pk))
        return confirmation or HttpResponseRedirect(reverse("admin:events_quarantined_changelist"))

    def send_again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The body in a form; on POST the answer of its route to the body."""
        if not self.has_send_again_permission(request):
            raise PermissionDenied
        record = get_object_or_404(Quarantined.objects.select_related("source"), pk=pk)
        if request.method == "GET":
            self.audit_read(request, record)
        back = self.record_url("change", pk)
        body, outcome = _body_text(bytes(record.body)), None
        if request.method == "POST":
            stored, body = body, request.POST.get("body", "").replace("\r\n", "\n")
            is_edited = body != stored.replace("\r\n", "\n")
            try:
                outcome = self._send(request, record, body.encode() if is_edited else None)
            except AlreadyAcceptedError:
                messages.warning(request, "It has already been sent again and accepted.")
                return HttpResponseRedirect(back)
            if outcome.accepted:
                messages.success(request, f"Accepted: {outcome.answer}")
                return HttpResponseRedirect(back)
        context = {
            "title": "Send again",
            "refused": record,
            "body": body,
            "cut": len(record.body) < record.body_bytes,
            "outcome": outcome,
        }
        return self.record_page(request, pk, "rudderhub/problems/send_again.html", context)

    def _send(self, request: HttpRequest, record: Quarantined, body: bytes | None) -> Outcome:
        outcome = resend.resend_request(record.pk, body)
        how = "unchanged" if body is None else "edited"
        resend.log_resend(request.user.pk, record, how, outcome)
        return outcome


def _body_position(text: str) -> Func:
    """The position of a text in the body, from 1; 0 when the body does not contain it."""
    needle = Value(text.encode(), output_field=BinaryField())
    return Func(
        needle,
        F("body"),
        template="position(%(expressions)s)",
        arg_joiner=" in ",
        output_field=IntegerField(),
    )


def _affected(refused: QuerySet[Quarantined]) -> Affected:
    groups = refused.order_by().values("source__name", "status", "reason")
    counted_groups = groups.annotate(count=Count("pk"), since=Min("received_at"))
    return Affected(
        ("Source", "Status", "Reason", "Requests", "Oldest"),
        [
            (
                g["source__name"],
                g["status"],
                fingerprint(g["reason"]),
                g["count"],
                relative_time(g["since"]),
            )
            for g in counted_groups.order_by("-count")[:MOST_GROUPS]
        ],
    )


def _body_text(body: bytes) -> str:
    return body.decode("utf-8", errors="backslashreplace")


def _body_block(refused: Quarantined) -> SafeString:
    body = bytes(refused.body)
    shown = json_block(_body_text(body))
    if len(body) >= refused.body_bytes:
        return shown
    return format_html(
        "<p>Only the first {} of {} bytes were kept.</p>{}",
        f"{len(body):,}",
        f"{refused.body_bytes:,}",
        shown,
    )
