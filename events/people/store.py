"""The identities of a destination, opened for an operator or the profile API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations

from django.db.models import QuerySet

from destinations.interface import DestinationError
from destinations.models import Connection, Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn
from destinations.postgres.connection import connect as connect_warehouse
from destinations.postgres.identity import schema as identity_schema
from destinations.warehouse.identity.statements import (
    Identifier,
    MalformedMergeError,
    Rules,
    statement,
)
from events.models import Event

KEPT_CONNECTIONS = 4
MOST_EVENTS = 20
"""With one messageId: of as many sources, or accepted as often."""


@dataclass(frozen=True)
class IdentityStore:
    """A connection to a destination's warehouse, its identity schema and its event schemas."""

    conn: Conn
    schema: str
    namespaces: list[str]

    @property
    def args(self) -> tuple[Conn, str, list[str]]:
        """The first arguments of every action."""
        return self.conn, self.schema, self.namespaces


@contextmanager
def connect(destination: Destination) -> Iterator[IdentityStore]:
    """DestinationError when the destination resolves no identities."""
    config = PostgresConfig.from_config(destination.config, destination.secrets or {})
    if not config.resolve_identities:
        raise DestinationError(f"the destination {destination} does not resolve identities")
    with connect_warehouse(config) as conn:
        identity_schema.ensure_schema(conn, config.identity_schema, destination.public_id)
        yield IdentityStore(conn, config.identity_schema, destination.namespaces())


@contextmanager
def connect_pooled(destination: Destination) -> Iterator[IdentityStore]:
    """For reads of a request: a connection that this thread keeps, opened again when it broke."""
    config = PostgresConfig.from_config(destination.config, destination.secrets or {})
    kept: dict[str, Conn] = _kept.__dict__
    key = config.conninfo()
    conn = kept.pop(key, None)
    if conn is None or conn.broken or conn.closed:
        conn = connect_warehouse(config)
        identity_schema.read_meta(conn, config.identity_schema)
    try:
        yield IdentityStore(conn, config.identity_schema, destination.namespaces())
    finally:
        kept[key] = conn
        while len(kept) > KEPT_CONNECTIONS:
            kept.pop(next(iter(kept))).close()


def close_pooled() -> None:
    """Let go of this thread's connections."""
    while _kept.__dict__:
        _kept.__dict__.popitem()[1].close()


_kept = threading.local()


def stated_pairs(
    destination: Destination, people: IdentityStore, message_id: str
) -> list[tuple[Identifier, Identifier]]:
    """Every link that the events with this messageId state, as far as the log still has them."""
    rules = identity_schema.read_rules(people.conn, people.schema)
    fed = {each.source_id: each.source.public_id for each in _connections(destination)}
    found = Event.objects.filter(message_id=message_id, source_id__in=fed).order_by("id")
    statements = (
        _statement(event.payload, fed[event.source_id], rules) for event in found[:MOST_EVENTS]
    )
    return [pair for stated in statements for pair in combinations(stated, 2)]


def _connections(destination: Destination) -> QuerySet[Connection]:
    return Connection.objects.filter(destination=destination).select_related("source")


def _statement(payload: str, source_id: str, rules: Rules) -> tuple[Identifier, ...]:
    try:
        stated = statement(json.loads(payload), source_id, rules)
    except MalformedMergeError:
        return ()
    return stated.identifiers if stated else ()
