"""The list of Live events: a page of the log, with the states of its events."""

from __future__ import annotations

import json
from functools import reduce
from operator import or_
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Case, F, Func, IntegerField, Q, QuerySet, TextField, Value, When
from django.http import HttpRequest
from unfold.views import ChangeList

from events.admin.live_filters import StateFilter, before
from events.admin.trace import stops, summary
from events.masking import PERMISSION
from events.models import Event
from events.rates import head
from sources.models import Source

PAGE = 50
WINDOW, SEARCHED = 100_000, 40_000
"""Ids that a page with a filter looks through, and one with a text to search."""
READ_BYTES = 65_536
"""Longer payloads are not read for the list."""
PART, MOST_PARTS = 200, 3
"""Events of which a page looks for those in a state: so many at once, so many times."""


class OctetLength(Func):
    function = "octet_length"
    output_field = IntegerField()


class LiveChangeList(ChangeList):
    """Newest first, by id and without a count.

    A page with a filter or a search looks through a window of ids, so that it opens at once
    however long the log is; "before" leads on to the older ones.
    """

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        self.filter_params.pop("before", None)
        found: dict[str, Any] = super().get_filters_params(params)
        return found

    def get_results(self, request: HttpRequest) -> None:
        self._sees = request.user.has_perm(PERMISSION)
        self.before = before(request)
        self.top = (self.before or head() + 1) - 1
        self.looked_from = 1
        rows = self._page(request.GET.get(StateFilter.parameter_name, ""))
        self.result_list = rows[:PAGE]
        self.result_count = self.full_result_count = len(self.result_list)
        self.show_full_result_count = self.show_admin_actions = False
        self.can_show_all = self.multi_page = False
        self.paginator = Paginator(self.result_list, PAGE)
        self._add_links(more=len(rows) > PAGE)

    def _page(self, state: str) -> list[Event]:
        """A page and one more; of those in a state, which is known once an event is looked at."""
        rows = self._rows()
        if not state:
            return _with_states(rows[: PAGE + 1])
        found: list[Event] = []
        for part in range(MOST_PARTS):
            looked = _with_states(rows[PART * part : PART * (part + 1)])
            found += [event for event in looked if event.summary[0] == state]  # type: ignore[attr-defined]
            if len(found) > PAGE or len(looked) < PART:
                return found[: PAGE + 1]
        self.looked_from = looked[-1].pk
        return found

    def _rows(self) -> QuerySet[Event]:
        """A message id is found anywhere in the log, everything else in the window."""
        rows: QuerySet[Event] = self.queryset.filter(pk__lte=self.top)
        term = self.query.strip()
        same = Event.objects.filter(message_id=term).order_by().values_list("pk", flat=True)
        if term and (ids := list(same[: 2 * PAGE])):
            return rows.filter(pk__in=ids)
        if term or self.has_active_filters:
            window = SEARCHED if term else WINDOW
            self.looked_from = max(self.top - window + 1, 1)
            rows = rows.filter(pk__gte=self.looked_from)
        if not term:
            return rows
        found = Q(user_id=term) | Q(anonymous_id=term) | Q(event=term)
        if self._sees:  # by parts of a text that is hidden, letter by letter, it could be told
            found |= reduce(or_, (Q(payload__icontains=text) for text in _as_stored(term)))
        return rows.filter(found)

    def _add_links(self, *, more: bool) -> None:
        older = self.result_list[-1].pk if more else self.looked_from
        self.newest_url = self.get_query_string() if self.before else ""
        self.older_url = self.get_query_string({"before": older}) if more or older > 1 else ""


def shortened(events: QuerySet[Event]) -> QuerySet[Event]:
    """With the sizes of their payloads, and those payloads that are read."""
    short = Case(
        When(payload_bytes__lte=READ_BYTES, then=F("payload")),
        default=Value(""),
        output_field=TextField(),
    )
    size = OctetLength(F("payload"))
    return events.defer("payload").annotate(payload_bytes=size, short_payload=short)


def _as_stored(term: str) -> set[str]:
    """A text as it may stand in a payload: in a string, or as the page shows JSON."""
    inside = json.dumps(term, ensure_ascii=False)[1:-1]
    return {term, inside, term.replace('": ', '":')}


def _with_states(rows: QuerySet[Event]) -> list[Event]:
    """With sources and states, in four queries; without the longest payloads."""
    events = list(rows)
    for event in events:
        event.payload = event.short_payload  # type: ignore[attr-defined]
    names = dict(
        Source.objects.filter(pk__in={event.source_id for event in events}).values_list(
            "pk", "name"
        )
    )
    known = stops(events)
    for event in events:
        event.shown_source = names.get(event.source_id, "deleted source")  # type: ignore[attr-defined]
        event.summary = summary(known[event.pk])  # type: ignore[attr-defined]
    return events
