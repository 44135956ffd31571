"""The rows, discards and profile of an event in a connection's warehouse, for its trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from destinations.interface import DestinationError, DestinationUnavailableError, LoggedEvent
from destinations.models import Connection
from destinations.postgres.config import PostgresConfig
from destinations.postgres.reads import event_rows, tables
from destinations.postgres.reads.event_rows import EventDiscard, Place
from destinations.postgres.reads.profiles import LinkRecord, ProfileRecord
from destinations.warehouse.identity.statements import ANONYMOUS_ID, USER_ID
from events.loads import session
from events.models import Event
from events.protocol.masking import HIDDEN

MOST_LINKS = 5
IDS = {USER_ID, ANONYMOUS_ID}


@dataclass(frozen=True)
class TrailRule:
    """A link that puts an identifier of the event into its profile, and the event behind it."""

    ends: str
    text: str
    message_id: str
    event_pk: int | None
    """The event in the log that made the link, if it is still kept."""
    is_own: bool


@dataclass(frozen=True)
class Trail:
    connection: Connection
    places: Sequence[Place] = ()
    discards: Sequence[EventDiscard] = ()
    profile: ProfileRecord | None = None
    profile_name: str = ""
    primary: str = ""
    rules: Sequence[TrailRule] = field(default_factory=list)
    more_rules: int = 0
    fault: str = ""

    @property
    def has_no_row(self) -> bool:
        """Whether every row that a load would write today is missing; False if that is unknown."""
        return bool(self.places) and all(place.is_there is False for place in self.places)


def warehouse_trail(connection: Connection, event: Event, *, sees: bool) -> Trail:
    """Query the warehouse; if it fails, the trail holds the fault."""
    destination = connection.destination
    feed = session.connection_feed(connection, connection.pk)
    try:
        config = PostgresConfig.from_config(destination.config, destination.secrets)
        with tables.opened(config) as conn:
            traced = event_rows.look_for(
                conn,
                logged(event),
                feed,
                destination.config,
                config.identity_schema if config.resolve_identities else "",
            )
    except (DestinationError, DestinationUnavailableError) as error:
        expected = event_rows.expected(logged(event), feed, destination.config)
        places = event_rows.places(connection.namespace, expected)
        shown = places if sees else [_masked_place(connection, place) for place in places]
        return Trail(connection, places=shown, fault=str(error))
    profile, stated = traced.profile, traced.stated
    return Trail(
        connection,
        places=traced.places
        if sees
        else [_masked_place(connection, place) for place in traced.places],
        discards=traced.discards
        if sees
        else [discard._replace(value=HIDDEN) for discard in traced.discards],
        profile=profile,
        profile_name=_profile_name(profile) if profile and sees else "",
        primary=_identifier_text(*stated.primary, sees=sees) if stated and stated.primary else "",
        rules=[_trail_rule(link, event, sees=sees) for link in traced.links[:MOST_LINKS]],
        more_rules=max(len(traced.links) - MOST_LINKS, 0),
    )


def logged(event: Event) -> LoggedEvent:
    return LoggedEvent(event.pk, event.message_id, event.payload)


def rule_text(kind: str, types: set[str]) -> str:
    """Why an event of this type links identifiers of these types, in words."""
    if kind == "merge":
        return "a merge call with both"
    if kind == "alias":
        return "an alias call with both"
    if types <= IDS:
        return f"userId and anonymousId in one {kind or 'event'}" + (" event" if kind else "")
    return f"the trait identifier {', '.join(sorted(types - IDS) or types)} of an identify event"


def _trail_rule(link: LinkRecord, event: Event, *, sees: bool) -> TrailRule:
    is_own = link.message_id == event.message_id
    made_by = event if is_own else _link_event(link)
    pair = sorted(
        [(link.type_a, link.value_a), (link.type_b, link.value_b)],
        key=lambda each: (each[0] != USER_ID, each),
    )
    return TrailRule(
        ends=" - ".join(_identifier_text(*each, sees=sees) for each in pair),
        text=rule_text(made_by.type if made_by else "", {link.type_a, link.type_b}),
        message_id=link.message_id,
        event_pk=made_by.pk if made_by else None,
        is_own=is_own,
    )


def _link_event(link: LinkRecord) -> Event | None:
    same = Event.objects.filter(message_id=link.message_id, source__public_id=link.source_id)
    return same.defer("payload").order_by("pk").first()


def _profile_name(profile: ProfileRecord) -> str:
    return profile.name or profile.email or profile.user_id or ""


def _masked_place(connection: Connection, place: Place) -> Place:
    """Mask a row of users, which is named by its user; other rows are named by their event."""
    if place.table != "users":
        return place
    query = event_rows.select_row(connection.namespace, place.table, HIDDEN)
    return place._replace(row_id="", query=query.as_string(None))


def _identifier_text(kind: str, value: str, *, sees: bool) -> str:
    return f"{kind} {value if sees else HIDDEN}"
