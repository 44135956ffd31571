"""Live events: the list of accepted events, and the page of one event with its trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.utils import flatten
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import display

from destinations.models import Destination
from events.gateway import recent_requests
from events.log.sdks import library
from events.models import Event, Load
from events.protocol.masking import HIDDEN, PERMISSION, masked_json, masked_text
from events.workers.errors import fingerprint
from rudderhub.admin.base.columns import (
    clipped_column,
    column,
    copyable_column,
    number_column,
    time_column,
)
from rudderhub.admin.base.display import (
    clipped_text,
    code_block,
    copyable_text,
    json_block,
    relative_time,
    status_label,
)
from rudderhub.admin.base.read_only import ReadOnlyAdmin
from rudderhub.admin.data.snippets import curl_command
from rudderhub.admin.live_events.event_list import PAGE, EventChangeList, with_short_payloads
from rudderhub.admin.live_events.filters import (
    REFUSED,
    NameFilter,
    SourceFilter,
    StateFilter,
    TypeFilter,
)
from rudderhub.admin.live_events.trace import TraceStep, trace_steps
from rudderhub.admin.live_events.warehouse_trace import warehouse_trace
from rudderhub.admin.problems.dead_letter_actions import PERMISSIONS
from sources.models import Source

if TYPE_CHECKING:
    pass

MOST_REPEATS = 10
SHORT = 8
NO_ROW = (
    "The connection has passed this event, but no row of it exists. The rows were deleted, or the "
    "event filter left the event out."
)


def _short_id(text: str) -> SafeString | str | None:
    """An id to copy, unless it is masked."""
    return (text or None) if text in {"", HIDDEN} else copyable_text(text, SHORT)


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = (
        *("time", "status", "type", "name", "source_name"),
        *("user", "anonymous", "sdk", "size", "as_curl"),
    )
    list_filter = (SourceFilter, TypeFilter, NameFilter, StateFilter)
    holds_personal_data = lists_personal_data = True
    personal_fields = ("user_id", "anonymous_id", "payload")
    search_fields = ("message_id",)
    search_help_text = "Message id, user id, anonymous id, event name or any text of an event"
    masked_search_help_text = "Message id, whole user id, whole anonymous id, or event name"
    list_per_page = PAGE
    warehouse_seconds = 3.0
    """After this time the trace queries no further warehouse: all may be unavailable."""
    empty_text = "No events yet. To send one, open a source and copy a snippet."
    nothing_text = "To see refused requests, choose the status refused."
    fields = (
        ("received", "from_source"),
        ("type", "event"),
        ("message", "number"),
        ("user_copy", "anonymous_copy"),
    )
    readonly_fields = flatten(fields)

    time = time_column("received_at", "time")
    status = column("worst_state", "status", lambda state: status_label(*state))
    number = column("pk", "position in the log", int)
    name = clipped_column("event", "event", "tight")
    source_name = clipped_column("shown_source", "source", "tight")
    size = number_column("payload_bytes", "bytes")
    message = copyable_column("message_id", "message id")
    user_copy = copyable_column("user_id", "user id")
    anonymous_copy = copyable_column("anonymous_id", "anonymous id")
    user = column("user_id", "user id", _short_id)
    anonymous = column("anonymous_id", "anonymous id", _short_id)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The state "refused" redirects to the quarantine: refused requests are no events."""
        if request.GET.get(StateFilter.parameter_name) == REFUSED:
            query = urlencode({"q": request.GET.get("q", ""), **_source_query(request)})
            url = reverse("admin:events_quarantined_changelist")
            return HttpResponseRedirect(f"{url}?{query}")
        return super().changelist_view(request, extra_context)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[EventChangeList]:
        return EventChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        return Event.objects.order_by("-id")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        """EventChangeList searches, because it knows the window of ids."""
        return with_short_payloads(queryset), False

    @display(description="SDK", empty_value="-")
    def sdk(self, event: Event) -> SafeString | None:
        text = _sdk_text(event)
        return clipped_text(text, size="tight") if text else None

    @display(description="again")
    def as_curl(self, event: Event) -> SafeString:
        return format_html(
            '<button type="button" class="rh-copy" data-copy-url="{}"'
            ' aria-label="Copy event {} as curl">curl</button>',
            reverse("admin:events_event_curl", args=[event.pk]),
            event.pk,
        )

    @display(description="received")
    def received(self, event: Event) -> SafeString:
        return format_html(
            "{} ({} UTC)",
            relative_time(event.received_at),
            f"{event.received_at:%Y-%m-%d %H:%M:%S.%f}"[:-3],
        )

    @display(description="source")
    def from_source(self, event: Event) -> SafeString:
        source = Source.objects.filter(pk=event.source_id).first()
        if source is None:
            return format_html("deleted source {}", event.source_id)
        url = reverse("admin:sources_source_change", args=[source.pk])
        return format_html('<a class="rh-link" href="{}">{}</a>', url, source)

    def mask_listed(self, record: Event) -> None:
        record.user_id = masked_text(record.user_id)
        record.anonymous_id = masked_text(record.anonymous_id)

    def mask(self, record: Event) -> None:
        self.mask_listed(record)
        record.payload = masked_json(record.payload)

    def parts(self, request: HttpRequest, record: Event) -> list[tuple[str, SafeString]]:
        may_see = request.user.has_perm(PERMISSION)
        event = Event.objects.get(pk=record.pk)
        may_query = request.user.has_perm("destinations.view_destination")
        steps, until = trace_steps([event])[event.pk], monotonic() + self.warehouse_seconds
        traced_steps = [
            _traced_step(event, step, queries=may_query and monotonic() < until, may_see=may_see)
            for step in steps
        ]
        context = {
            "event": record,
            "source": self.from_source(record),
            "has_source": Source.objects.filter(pk=record.source_id).exists(),
            "steps": traced_steps,
            "awaited": _awaited_destinations(steps),
            "states_key": _states_key(steps),
            "may_query": may_query,
            "sdk": _sdk_text(event),
            "may_act": request.user.has_perms(PERMISSIONS),
            "original": _request_context(event, may_see=may_see),
            "repeats": _repeats(event),
            "minutes": settings.REQUEST_MINUTES,
            "normalised": json_block(record.payload),
        }
        trace = render_to_string("rudderhub/live_events/trace.html", context, request)
        original = render_to_string("rudderhub/live_events/request.html", context)
        return [
            ("Trace", SafeString(trace)),
            ("Request and event", SafeString(original)),
            ("Send again", code_block(self._curl_text(request, record))),
        ]

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        return {"state": self.state_view, "curl": self.curl_view}

    def state_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The status that a waiting trace fetches; empty as soon as a state has changed."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        event = get_object_or_404(Event, pk=pk)
        steps = trace_steps([event])[pk]
        states_key = _states_key(steps)
        if request.GET.get("seen") != states_key:
            return HttpResponse()
        awaited = _awaited_destinations(steps)
        context = {"event": event, "awaited": awaited, "states_key": states_key}
        return TemplateResponse(request, "rudderhub/live_events/pending_status.html", context)

    def curl_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """The curl command of an event, which the list copies."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        record = self.get_object(request, str(pk))
        if record is None:
            raise Http404
        self.audit_read(request, record)
        return HttpResponse(
            self._curl_text(request, record), content_type="text/plain; charset=utf-8"
        )

    def _curl_text(self, request: HttpRequest, record: Event) -> str:
        """A curl command; its key is a variable unless the user may change sources."""
        source = Source.objects.filter(pk=record.source_id).first()
        key = source.write_keys.active(timezone.now()).first() if source else None
        if key is None or not request.user.has_perm("sources.change_source"):
            return curl_command(settings.DATA_PLANE_URL, record.payload)
        return curl_command(settings.DATA_PLANE_URL, record.payload, key.key)


def _source_query(request: HttpRequest) -> dict[str, str]:
    chosen = request.GET.get(SourceFilter.parameter_name, "")
    return {"source__id__exact": chosen} if chosen.isdecimal() else {}


def _request_context(event: Event, *, may_see: bool) -> dict[str, Any] | None:
    """The request of an event, if it is still kept; masked unless the user may see values."""
    original = recent_requests.find_request(event.source_id, event.received_at)
    if original is None:
        return None
    body = original.body.decode(errors="backslashreplace")
    path = original.path if may_see else original.path.partition("?")[0]
    is_cut = original.body_bytes > recent_requests.BODY_BYTES
    return {
        "line": f"{original.method} {path}",
        "headers": {
            name: value if may_see or name.startswith("Content-") else masked_text(value)
            for name, value in original.headers.items()
        },
        "body": json_block(body if may_see else masked_json(body)) if body else "",
        "cut_bytes": original.body_bytes if is_cut else 0,
    }


def _repeats(event: Event) -> QuerySet[Event]:
    """Other events of the source with the same message id, such as retries of a client."""
    events = Event.objects.filter(message_id=event.message_id, source_id=event.source_id)
    return events.exclude(pk=event.pk).defer("payload").order_by("pk")[:MOST_REPEATS]


def _awaited_destinations(steps: list[TraceStep]) -> list[Destination]:
    return [step.connection.destination for step in steps if step.kind == "wait"]


def _states_key(steps: list[TraceStep]) -> str:
    return ",".join(f"{step.connection.pk}:{step.state}" for step in steps)


def _traced_step(event: Event, step: TraceStep, *, queries: bool, may_see: bool) -> TraceStep:
    """The step with its load and, if `queries` is set, with what the warehouse has of the event."""
    loads = Load.objects.filter(connection=step.connection)
    load = loads.filter(after_id__lt=event.pk, upto_id__gte=event.pk).first()
    if step.state == "dead letter" and step.dead_letter and not may_see:
        step = replace(step, detail=fingerprint(step.dead_letter.reason))
    if not queries or step.state != "loaded":
        return replace(step, load=load)
    trace = warehouse_trace(step.connection, event, may_see=may_see)
    if trace.has_no_row:
        step = replace(step, state="no row now", kind="off", detail=NO_ROW)
    return replace(step, load=load, warehouse=trace)


def _sdk_text(event: Event) -> str:
    return " ".join(library(event.payload)).strip()
