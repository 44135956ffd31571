"""The export of everything that a warehouse stores about one person."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from destinations.interface import DestinationError
from destinations.postgres.identity import graph_schema
from destinations.postgres.reads import profiles
from events.people.store import IdentityStore

MAX_ROWS = 20_000
"""Rows per table."""
MAX_LISTED = 10_000
"""Identifiers, and links."""


def profile_export(identities: IdentityStore, rudder_id: UUID) -> dict[str, Any]:
    """The profile, its traits with their events, identifiers, links, and whole rows by table.

    is_cut_short is true if one of the lists reached its limit. Raises DestinationError if no
    profile has or had the id.
    """
    conn, schema = identities.conn, identities.schema
    profile = next(iter(profiles.find_profiles(conn, schema, str(rudder_id))), None)
    if profile is None:
        raise DestinationError("no profile has or had this id")
    current = profile.rudder_id
    former = profiles.former_ids(conn, schema, current)
    options = graph_schema.read_meta(conn, schema).options
    identifiers = profiles.identifiers(conn, schema, current, MAX_LISTED)
    links = profiles.links(conn, schema, current, MAX_LISTED)
    traits = profiles.winning_traits(conn, schema, current, options.null_clears)
    rows = profiles.event_rows(conn, schema, identities.namespaces, [current, *former], MAX_ROWS)
    full = [len(identifiers) == MAX_LISTED, len(links) == MAX_LISTED]
    return {
        "rudder_id": current,
        "former_ids": former,
        "user_id": profile.user_id,
        "email": profile.email,
        "name": profile.name,
        "first_seen_at": profile.first_seen_at,
        "last_seen_at": profile.last_seen_at,
        "traits": [trait._asdict() for trait in traits],
        "identifiers": [identifier._asdict() for identifier in identifiers],
        "links": [link._asdict() for link in links],
        "rows": rows,
        "is_cut_short": any([*full, *(len(listed) == MAX_ROWS for listed in rows.values())]),
    }
