"""The rows, discards and profile of an event in the warehouse of a connection, with their page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from destinations.interface import DestinationError, DestinationUnavailableError, LoggedEvent
from destinations.models import Connection
from destinations.postgres.config import PostgresConfig
from destinations.postgres.reads import event_rows, tables
from destinations.postgres.reads.event_rows import EventDiscard, RowPlace
from destinations.postgres.reads.profiles import LinkRecord, ProfileRecord
from destinations.warehouse.identity.statements import ANONYMOUS_ID, USER_ID
from events.loads import session
from events.models import Event
from events.protocol.masking import HIDDEN, PERMISSION
from events.workers import audit
from rudderhub.admin.data.warehouse_queries import render_page, require_view_permission

MOST_LINKS = 5
IDS = {USER_ID, ANONYMOUS_ID}


@dataclass(frozen=True)
class TracedLink:
    """A link that put an identifier of the event into its profile, and the event that made it."""

    identifiers: str
    reason: str
    message_id: str
    event_pk: int | None
    """The event in the log that made the link, if it is still kept."""
    is_own: bool


@dataclass(frozen=True)
class WarehouseTrace:
    connection: Connection
    places: Sequence[RowPlace] = ()
    discards: Sequence[EventDiscard] = ()
    profile: ProfileRecord | None = None
    profile_name: str = ""
    primary: str = ""
    """The identifier that the event belongs to its profile by."""
    links: Sequence[TracedLink] = ()
    more_links: int = 0
    fault: str = ""

    @property
    def has_no_row(self) -> bool:
        """Whether every row that a load would write today is missing; False if that is unknown."""
        return bool(self.places) and all(place.is_there is False for place in self.places)


def warehouse_trace_page(request: HttpRequest, pk: int, connection_pk: int) -> HttpResponse:
    """The page of an event's rows, discards and profile in the warehouse of a connection."""
    require_view_permission(request)
    event = get_object_or_404(Event, pk=pk)
    connections = Connection.objects.select_related("source", "destination")
    connection = get_object_or_404(connections, pk=connection_pk, source_id=event.source_id)
    may_see = request.user.has_perm(PERMISSION)
    trace = warehouse_trace(connection, event, may_see=may_see)
    if may_see:
        audit.log_action(request.user.pk, connection.destination, f"Viewed the rows of {event}.")
    title = f"{event} in {connection.destination}"
    context = {"title": title, "event": event, "trace": trace}
    return render_page(request, "rudderhub/live_events/warehouse_trace_page.html", context)


def warehouse_trace(connection: Connection, event: Event, *, may_see: bool) -> WarehouseTrace:
    """Query the warehouse; if that fails, the trace has the expected places and the fault."""
    destination = connection.destination
    feed = session.connection_feed(connection, connection.pk)
    try:
        config = PostgresConfig.from_config(destination.config, destination.secrets)
        with tables.connect_read_only(config) as conn:
            traced = event_rows.find_event(
                conn,
                logged(event),
                feed,
                destination.config,
                config.identity_schema if config.resolve_identities else "",
            )
    except (DestinationError, DestinationUnavailableError) as error:
        expected = event_rows.expected_rows(logged(event), feed, destination.config)
        places = event_rows.row_places(connection.namespace, expected)
        places = [_shown_place(connection, place, may_see=may_see) for place in places]
        return WarehouseTrace(connection, places, fault=str(error))
    profile, stated = traced.profile, traced.stated
    primary = stated.primary if stated else None
    name = (profile.name or profile.email or profile.user_id) if profile and may_see else ""
    return WarehouseTrace(
        connection,
        [_shown_place(connection, place, may_see=may_see) for place in traced.places],
        [discard if may_see else discard._replace(value=HIDDEN) for discard in traced.discards],
        profile,
        profile_name=name or "",
        primary=_identifier_text(*primary, may_see=may_see) if primary else "",
        links=[_traced_link(link, event, may_see=may_see) for link in traced.links[:MOST_LINKS]],
        more_links=max(len(traced.links) - MOST_LINKS, 0),
    )


def logged(event: Event) -> LoggedEvent:
    return LoggedEvent(event.pk, event.message_id, event.payload)


def link_reason(kind: str, types: set[str]) -> str:
    """Why an event of this type links identifiers of these types, in words."""
    if kind == "merge":
        return "a merge call with both"
    if kind == "alias":
        return "an alias call with both"
    if types <= IDS:
        return f"userId and anonymousId in one {kind or 'event'}" + (" event" if kind else "")
    return f"the trait identifier {', '.join(sorted(types - IDS) or types)} of an identify event"


def _traced_link(link: LinkRecord, event: Event, *, may_see: bool) -> TracedLink:
    is_own = link.message_id == event.message_id
    origin = event if is_own else _link_event(link)
    ends = [(link.type_a, link.value_a), (link.type_b, link.value_b)]
    ends.sort(key=lambda end: (end[0] != USER_ID, end))
    return TracedLink(
        identifiers=" - ".join(_identifier_text(*end, may_see=may_see) for end in ends),
        reason=link_reason(origin.type if origin else "", {link.type_a, link.type_b}),
        message_id=link.message_id,
        event_pk=origin.pk if origin else None,
        is_own=is_own,
    )


def _link_event(link: LinkRecord) -> Event | None:
    events = Event.objects.filter(message_id=link.message_id, source__public_id=link.source_id)
    return events.defer("payload").order_by("pk").first()


def _shown_place(connection: Connection, place: RowPlace, *, may_see: bool) -> RowPlace:
    """Mask a row of users, which is named by its user; other rows are named by their event."""
    if may_see or place.table != "users":
        return place
    query = event_rows.select_row(connection.namespace, place.table, HIDDEN)
    return place._replace(row_id="", query=query.as_string(None))


def _identifier_text(kind: str, value: str, *, may_see: bool) -> str:
    return f"{kind} {value if may_see else HIDDEN}"
