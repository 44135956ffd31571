"""The list of Live events: a page of the log, with the states of its events."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, TypedDict, cast

from django.core.paginator import Paginator
from django.db.models import Case, F, Func, IntegerField, Q, QuerySet, TextField, Value, When
from django.http import HttpRequest
from unfold.views import ChangeList

from events.log.reader import head_id
from events.models import Event
from events.protocol.masking import PERMISSION
from rudderhub.admin.live_events.filters import StateFilter, before_id
from rudderhub.admin.live_events.trace import trace_steps, worst_state
from sources.models import Source

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

    class _ListedValues(TypedDict):
        payload_bytes: int
        short_payload: str
        shown_source: str
        worst_state: tuple[str, str]

    EventRow = WithAnnotations[Event, _ListedValues]

PAGE = 50
WINDOW, SEARCHED = 100_000, 40_000
"""How many ids a page checks with a filter, and with a search."""
READ_BYTES = 65_536
"""Longer payloads are not read for the list."""
PART, MOST_PARTS = 200, 3
"""How many events are checked for a state at once, and how often for one page."""


class OctetLength(Func):
    function = "octet_length"
    output_field = IntegerField()


class EventChangeList(ChangeList):
    """The newest events first, by id and without a count.

    A page with a filter or a search checks a window of ids, so that its time does not depend on
    the length of the log; the parameter "before" leads to older events.
    """

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        self.filter_params.pop("before", None)
        filters: dict[str, Any] = super().get_filters_params(params)
        return filters

    def get_results(self, request: HttpRequest) -> None:
        self._may_see = request.user.has_perm(PERMISSION)
        self.before = before_id(request)
        self.newest_id = (self.before or head_id() + 1) - 1
        self.searched_from = 1
        rows = self._page(request.GET.get(StateFilter.parameter_name, ""))
        self.result_list = rows[:PAGE]
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.result_list, PAGE)
        self._add_links(more=len(rows) > PAGE)

    def _page(self, state: str) -> list[EventRow]:
        """A page and one event more; with a state, only events in that state."""
        rows = self._rows()
        if not state:
            return _event_rows(rows[: PAGE + 1])
        page: list[EventRow] = []
        for part in range(MOST_PARTS):
            checked = _event_rows(rows[PART * part : PART * (part + 1)])
            page += [row for row in checked if row.worst_state[0] == state]
            if len(page) > PAGE or len(checked) < PART:
                return page[: PAGE + 1]
        self.searched_from = checked[-1].pk
        return page

    def _rows(self) -> QuerySet[Event]:
        """Search the whole log for a message id, and the window for everything else."""
        rows: QuerySet[Event] = self.queryset.filter(pk__lte=self.newest_id)
        term = self.query.strip()
        pks = Event.objects.filter(message_id=term).order_by().values_list("pk", flat=True)
        if term and (ids := list(pks[: 2 * PAGE])):
            return rows.filter(pk__in=ids)
        if term or self.has_active_filters:
            window = SEARCHED if term else WINDOW
            self.searched_from = max(self.newest_id - window + 1, 1)
            rows = rows.filter(pk__gte=self.searched_from)
        if not term:
            return rows
        matches = Q(user_id=term) | Q(anonymous_id=term) | Q(event=term)
        if self._may_see:  # a search for parts could reveal a masked value letter by letter
            matches |= reduce(or_, (Q(payload__icontains=text) for text in _stored_spellings(term)))
        return rows.filter(matches)

    def _add_links(self, *, more: bool) -> None:
        older = self.result_list[-1].pk if more else self.searched_from
        self.newest_url = self.get_query_string() if self.before else ""
        self.older_url = self.get_query_string({"before": older}) if more or older > 1 else ""


def with_short_payloads(events: QuerySet[Event]) -> QuerySet[Event]:
    """The events with the sizes of their payloads, and with the payloads that are short enough."""
    short = Case(
        When(payload_bytes__lte=READ_BYTES, then=F("payload")),
        default=Value(""),
        output_field=TextField(),
    )
    size = OctetLength(F("payload"))
    return events.defer("payload").annotate(payload_bytes=size, short_payload=short)


def _stored_spellings(term: str) -> set[str]:
    """How a payload may spell a text: inside a string, or as JSON without spaces."""
    inside = json.dumps(term, ensure_ascii=False)[1:-1]
    return {term, inside, term.replace('": ', '":')}


def _event_rows(queryset: QuerySet[Event]) -> list[EventRow]:
    """The events with their sources and states, in four queries; without the longest payloads."""
    rows = [cast("EventRow", event) for event in queryset]
    for row in rows:
        row.payload = row.short_payload
    sources = Source.objects.filter(pk__in={row.source_id for row in rows})
    names = dict(sources.values_list("pk", "name"))
    steps = trace_steps(rows)
    for row in rows:
        row.shown_source = names.get(row.source_id, "deleted source")
        row.worst_state = worst_state(steps[row.pk])
    return rows
