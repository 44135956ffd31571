"""What a connection's warehouse has of an event, as the trace shows it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from destinations.interface import DestinationError, DestinationUnavailableError, LoggedEvent
from destinations.models import Connection
from destinations.postgres import browsing, whereabouts
from destinations.postgres.config import PostgresConfig
from destinations.postgres.reading import LinkRecord, ProfileRecord
from destinations.postgres.whereabouts import EventDiscard, Place
from destinations.warehouse.identity import ANONYMOUS_ID, USER_ID
from events import moving
from events.masking import HIDDEN
from events.models import Event

MOST_LINKS = 5
IDS = {USER_ID, ANONYMOUS_ID}


@dataclass(frozen=True)
class Rule:
    """A link that puts an identifier of the event into its profile, and what made it."""

    ends: str
    text: str
    message_id: str
    event_pk: int | None
    """Its event in the log, if that still has it."""
    is_own: bool


@dataclass(frozen=True)
class Trail:
    connection: Connection
    places: Sequence[Place] = ()
    discards: Sequence[EventDiscard] = ()
    profile: ProfileRecord | None = None
    profile_name: str = ""
    primary: str = ""
    rules: Sequence[Rule] = field(default_factory=list)
    more_rules: int = 0
    fault: str = ""

    @property
    def has_no_row(self) -> bool:
        """None of those that a load makes of the event today; False where that is not known."""
        return bool(self.places) and all(place.is_there is False for place in self.places)


def look(connection: Connection, event: Event, *, sees: bool) -> Trail:
    """Asks the warehouse; a fault of it is part of what is found."""
    destination = connection.destination
    feed = moving.feed_of(connection, connection.pk)
    try:
        config = PostgresConfig.of(destination.config, destination.secrets)
        with browsing.opened(config) as conn:
            found = whereabouts.look_for(
                conn,
                logged(event),
                feed,
                destination.config,
                config.identity_schema if config.resolve_identities else "",
            )
    except (DestinationError, DestinationUnavailableError) as error:
        expected = whereabouts.expected(logged(event), feed, destination.config)
        places = whereabouts.places(connection.namespace, expected)
        shown = places if sees else [_hidden(connection, each) for each in places]
        return Trail(connection, places=shown, fault=str(error))
    profile, stated = found.profile, found.stated
    return Trail(
        connection,
        places=found.places if sees else [_hidden(connection, each) for each in found.places],
        discards=found.discards
        if sees
        else [each._replace(value=HIDDEN) for each in found.discards],
        profile=profile,
        profile_name=_name(profile) if profile and sees else "",
        primary=_identifier(*stated.primary, sees=sees) if stated and stated.primary else "",
        rules=[_rule(link, event, sees=sees) for link in found.links[:MOST_LINKS]],
        more_rules=max(len(found.links) - MOST_LINKS, 0),
    )


def logged(event: Event) -> LoggedEvent:
    return LoggedEvent(event.pk, event.message_id, event.payload)


def rule_text(kind: str, types: set[str]) -> str:
    """In words: what in an event of this type links identifiers of these types."""
    if kind == "merge":
        return "a merge call names both"
    if kind == "alias":
        return "an alias call names both"
    if types <= IDS:
        return f"userId and anonymousId in one {kind or 'event'}" + (" event" if kind else "")
    return f"the trait identifier {', '.join(sorted(types - IDS) or types)} of an identify event"


def _rule(link: LinkRecord, event: Event, *, sees: bool) -> Rule:
    is_own = link.message_id == event.message_id
    made_by = event if is_own else _made_by(link)
    pair = sorted(
        [(link.type_a, link.value_a), (link.type_b, link.value_b)],
        key=lambda each: (each[0] != USER_ID, each),
    )
    return Rule(
        ends=" - ".join(_identifier(*each, sees=sees) for each in pair),
        text=rule_text(made_by.type if made_by else "", {link.type_a, link.type_b}),
        message_id=link.message_id,
        event_pk=made_by.pk if made_by else None,
        is_own=is_own,
    )


def _made_by(link: LinkRecord) -> Event | None:
    same = Event.objects.filter(message_id=link.message_id, source__public_id=link.source_id)
    return same.defer("payload").order_by("pk").first()


def _name(profile: ProfileRecord) -> str:
    return profile.name or profile.email or profile.user_id or ""


def _hidden(connection: Connection, place: Place) -> Place:
    """A row of users is named by its user, the others by their event."""
    if place.table != "users":
        return place
    query = whereabouts.select_row(connection.namespace, place.table, HIDDEN)
    return place._replace(row_id="", query=query.as_string(None))


def _identifier(kind: str, value: str, *, sees: bool) -> str:
    return f"{kind} {value if sees else HIDDEN}"
