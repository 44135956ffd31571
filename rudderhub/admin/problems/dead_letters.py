"""The pages of dead letters: events that a connection could not load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

from django.contrib import admin
from django.contrib.admin import SimpleListFilter
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.views import ChangeList

from events.loads import dead_letters
from events.models import DeadLetter, Event, LetterState
from events.protocol.masking import masked_json
from events.workers.errors import fingerprint
from rudderhub.admin.base.columns import clipped_column, copyable_column, time_column
from rudderhub.admin.base.display import json_block, relative_time, status_label
from rudderhub.admin.base.read_only import ReadOnlyAdmin
from rudderhub.admin.problems.dead_letter_actions import PERMISSIONS, dead_letter_action
from rudderhub.admin.problems.open_state_filter import OpenStateFilter

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _WithEventName(TypedDict):
        event_name: str | None

    LetterRow = WithAnnotations[DeadLetter, _WithEventName]

STATE_KINDS = {LetterState.OPEN: "bad", LetterState.LOADED: "good", LetterState.DISCARDED: "off"}
MESSAGE_ID_LENGTH = 14
NOT_IN_LOG = "No longer in the log. If it is not loaded, its payload is below."


class LetterStateFilter(OpenStateFilter):
    open_label = LetterState.OPEN.label
    closed_states = [choice for choice in LetterState.choices if choice[0] != LetterState.OPEN]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter]
    ) -> QuerySet[DeadLetter]:
        chosen = self.value() or LetterState.OPEN
        return queryset if chosen == "all" else queryset.filter(state=chosen)


class KindFilter(SimpleListFilter):
    title = "kind of reason"
    parameter_name = "kind"
    most = 20

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        open_ones = DeadLetter.objects.filter(state=LetterState.OPEN).order_by("kind")
        kinds = open_ones.values_list("kind", flat=True).distinct()
        return [(kind, kind) for kind in kinds[: self.most]]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[DeadLetter]
    ) -> QuerySet[DeadLetter]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


class LetterChangeList(ChangeList):
    """Adds the types and names of the events that are still in the log, in one query."""

    result_list: list[LetterRow]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        ids = [letter.event_id for letter in self.result_list]
        events = Event.objects.filter(pk__in=ids).order_by().values_list("pk", "type", "event")
        names = {pk: f"{kind} · {name}" if name else kind for pk, kind, name in events}
        for letter in self.result_list:
            letter.event_name = names.get(letter.event_id)


@admin.register(DeadLetter)
class DeadLetterAdmin(ReadOnlyAdmin):
    list_display = (
        *("since", "event", "short_message", "connection", "problem", "attempts", "status"),
    )
    list_filter = (LetterStateFilter, "connection", KindFilter)
    list_select_related = ("connection__source", "connection__destination")
    search_fields = ("message_id", "reason")
    search_help_text = "Message id or reason"
    masked_search_fields = ("message_id", "kind")
    personal_fields = ("reason", "payload", "note")
    empty_text = (
        "No open dead letters. Use the filter State to see those that were loaded or discarded."
    )
    actions = ("rerun", "discard")  # type: ignore[assignment]
    change_form_outer_before_template = "rudderhub/problems/dead_letter_bar.html"
    fields = readonly_fields = (
        *("status", "reason", "connection", "message", "since", "attempts", "last_attempt"),
        *("closed", "last_rerun", "trace_link"),
    )

    since = time_column("created_at", "since")
    problem = clipped_column("reason", "reason")
    last_attempt = time_column("tried_at", "last attempt")
    short_message = copyable_column(
        "message_id", "message id", MESSAGE_ID_LENGTH, ordering="message_id"
    )
    message = copyable_column("message_id", "message id")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LetterChangeList]:
        return LetterChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[DeadLetter]:
        return DeadLetter.objects.order_by("-id").defer("payload")

    @display(description="event", empty_value="-")
    def event(self, letter: LetterRow) -> str | None:
        return letter.event_name

    @display(description="state")
    def status(self, letter: DeadLetter) -> SafeString:
        return status_label(
            letter.get_state_display().lower(), STATE_KINDS[LetterState(letter.state)]
        )

    @display(description="closed")
    def closed(self, letter: DeadLetter) -> SafeString:
        if letter.state == LetterState.DISCARDED:
            return format_html(
                "{} by {}: {}", relative_time(letter.closed_at), letter.closed_by, letter.note
            )
        return relative_time(letter.closed_at, never="not yet")

    @display(description="last re-run")
    def last_rerun(self, letter: DeadLetter) -> SafeString:
        if letter.replay_id is None:
            return format_html("{}", "none")
        url = reverse("admin:events_replay_change", args=[letter.replay_id])
        return format_html('<a class="rh-link" href="{}">replay {}</a>', url, letter.replay_id)

    @display(description="event")
    def trace_link(self, letter: DeadLetter) -> SafeString:
        if not Event.objects.filter(pk=letter.event_id).exists():
            return format_html("{}", NOT_IN_LOG)
        url = reverse("admin:events_event_change", args=[letter.event_id])
        return format_html('<a class="rh-link" href="{}">Open the trace</a>', url)

    holds_personal_data = lists_personal_data = True

    def mask_listed(self, record: DeadLetter) -> None:
        record.reason = fingerprint(record.reason)

    def mask(self, record: DeadLetter) -> None:
        self.mask_listed(record)
        record.payload = masked_json(record.payload)

    def parts(self, request: HttpRequest, record: DeadLetter) -> list[tuple[str, SafeString]]:
        if record.state == LetterState.LOADED:
            return []
        return [("Payload", json_block(record.payload))]

    @action(description="Re-run…", permissions=["act"])
    def rerun(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        return dead_letter_action(self, request, "rerun", queryset)

    @action(description="Discard with a note…", permissions=["act"])
    def discard(self, request: HttpRequest, queryset: QuerySet[DeadLetter]) -> HttpResponse:
        return dead_letter_action(self, request, "discard", queryset)

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perms(PERMISSIONS)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.act_view)
        route = path("<int:pk>/<str:name>/<str:reach>/", view, name="events_deadletter_act")
        return [route, *super().get_urls()]

    def act_view(self, request: HttpRequest, pk: int, name: str, reach: str) -> HttpResponse:
        """Run an action on one dead letter, or with the reach "alike" on all similar ones."""
        letter = self.get_queryset(request).filter(pk=pk).first()
        if letter is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, str(pk))
        one = DeadLetter.objects.filter(pk=pk)
        return dead_letter_action(
            self, request, name, dead_letters.similar_letters(letter) if reach == "alike" else one
        )

    def record_context(self, request: HttpRequest, record: DeadLetter) -> dict[str, Any]:
        context = super().record_context(request, record)
        if record.state == LetterState.OPEN and self.has_act_permission(request):
            context["similar_count"] = dead_letters.similar_letters(record).count()
        return context
