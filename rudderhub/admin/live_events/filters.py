"""The filters of Live events, which read the newest events and the connections' cursors."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import SimpleListFilter
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from destinations.models import Connection
from events.loads.backlog import cursor_position
from events.models import DeadLetter, Event, LetterState
from rudderhub.admin.base.record_pages import parse_pk
from sources.models import Source

DEAD_LETTERS = 1_000
NAMES_FROM, MOST_NAMES = 1_000, 30
TYPES = ("track", "identify", "page", "screen", "group", "alias", "merge", "extract")
REFUSED = "refused"
STATES = ("pending", "loaded", "skipped", "dead letter", "discarded", "no connection", REFUSED)


class SourceFilter(SimpleListFilter):
    title = "source"
    parameter_name = "source"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(pk), name) for pk, name in Source.objects.values_list("pk", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        """Events of the chosen source; none for a value that is no source."""
        chosen = self.value()
        if not chosen:
            return queryset
        source_pk = parse_pk(chosen)
        return queryset.none() if source_pk is None else queryset.filter(source_id=source_pk)


class TypeFilter(SimpleListFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in TYPES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(type=self.value()) if self.value() else queryset


class NameFilter(SimpleListFilter):
    """Offers the names of the newest events."""

    title = "event name"
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        newest = Event.objects.order_by("-id").values_list("event", flat=True)[:NAMES_FROM]
        names = sorted({name for name in newest if name})[:MOST_NAMES]
        return [(name, name) for name in names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        return queryset.filter(event=self.value()) if self.value() else queryset


class StateFilter(SimpleListFilter):
    """Events that may be in a state, by cursors and dead letters; the list checks each of them.

    The number of queries does not depend on the length of the log.
    """

    title = "status"
    parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in STATES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Event]) -> QuerySet[Event]:
        match self.value():
            case "dead letter":
                return queryset.filter(pk__in=_newest_letters(LetterState.OPEN, request))
            case "discarded":
                return queryset.filter(pk__in=_newest_letters(LetterState.DISCARDED, request))
            case "no connection":
                return queryset.exclude(source_id__in=_lowest_cursors())
            case "pending":
                return queryset.filter(_ids_filter(_lowest_cursors(), beyond=True))
            case "loaded" | "skipped":
                return queryset.filter(_ids_filter(_lowest_cursors(), beyond=False))
        return queryset


def before_id(request: HttpRequest) -> int | None:
    """The id before which the page begins; None on the newest page."""
    return parse_pk(request.GET.get("before", ""))


def _newest_letters(state: LetterState, request: HttpRequest) -> list[int]:
    letters = DeadLetter.objects.filter(state=state)
    if (before := before_id(request)) is not None:
        letters = letters.filter(event_id__lt=before)
    return list(letters.values_list("event_id", flat=True)[:DEAD_LETTERS])


def _lowest_cursors() -> dict[int, int]:
    """By source, the id of the last event that all its connections have read."""
    cursors: dict[int, int] = {}
    for connection in Connection.objects.all():
        position = cursor_position(connection)
        cursors[connection.source_id] = min(cursors.get(connection.source_id, position), position)
    return cursors


def _ids_filter(cursors: dict[int, int], *, beyond: bool) -> Q:
    """The condition for the events of each source beyond its cursor, or up to it."""
    matches = Q(pk__in=[])
    for source_pk, upto in cursors.items():
        matches |= Q(source_id=source_pk, **{"pk__gt" if beyond else "pk__lte": upto})
    return matches
