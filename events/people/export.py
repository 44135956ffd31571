"""All that a warehouse has of one person, to be handed over."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from destinations.interface import DestinationError
from destinations.postgres.identity import schema as identity_schema
from destinations.postgres.reads import profiles
from events.people.store import IdentityStore

MOST_ROWS, MOST_LISTED = 20_000, 10_000


def profile_export(identities: IdentityStore, rudder_id: UUID) -> dict[str, Any]:
    """Profile, traits with their events, identifiers, links, and whole rows by table.

    is_cut_short tells that one of the lists reached its limit.
    """
    conn, schema = identities.conn, identities.schema
    found = profiles.find(conn, schema, str(rudder_id))
    if not found:
        raise DestinationError("no profile has or had this id")
    now = found[0].rudder_id
    former = profiles.former_ids(conn, schema, now)
    options = identity_schema.read_meta(conn, schema).options
    identifiers = profiles.identifiers(conn, schema, now, MOST_LISTED)
    links = profiles.links(conn, schema, now, MOST_LISTED)
    traits = profiles.traits(conn, schema, now, options.null_clears)
    rows = profiles.rows(conn, schema, identities.namespaces, [now, *former], MOST_ROWS)
    full = [len(identifiers) == MOST_LISTED, len(links) == MOST_LISTED]
    return {
        "rudder_id": now,
        "former_ids": former,
        "user_id": found[0].user_id,
        "email": found[0].email,
        "name": found[0].name,
        "first_seen_at": found[0].first_seen_at,
        "last_seen_at": found[0].last_seen_at,
        "traits": [each._asdict() for each in traits],
        "identifiers": [each._asdict() for each in identifiers],
        "links": [each._asdict() for each in links],
        "rows": rows,
        "is_cut_short": any([*full, *(len(each) == MOST_ROWS for each in rows.values())]),
    }
