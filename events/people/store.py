"""Connections to the identities of a destination, for operators and the profile API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import combinations

from destinations.interface import DestinationError
from destinations.models import Destination
from destinations.postgres.config import PostgresConfig
from destinations.postgres.connection import Conn
from destinations.postgres.connection import connect as connect_warehouse
from destinations.postgres.identity import graph_schema
from destinations.postgres.operations.operation import Operation, begin_operation
from destinations.warehouse.identity.statements import (
    Identifier,
    MalformedMergeError,
    Rules,
    statement,
)
from events.models import Event

_pool = threading.local()
"""Connections by connection string, the least recently used first."""
MAX_POOLED = 4
"""Connections per thread."""
MAX_EVENTS = 20
"""Events with one messageId, from several sources or accepted several times."""


@dataclass(frozen=True)
class IdentityStore:
    """An open warehouse with the names of its identity schema and its event schemas."""

    conn: Conn
    schema: str
    namespaces: list[str]

    def operation(self, actor: str, *, dry_run: bool = False) -> AbstractContextManager[Operation]:
        """Begin an action on these identities; a dry run rolls it back."""
        names = self.schema, self.namespaces
        return begin_operation(self.conn, *names, actor=actor, dry_run=dry_run)


@contextmanager
def connect(destination: Destination) -> Iterator[IdentityStore]:
    """Open the identities; raises DestinationError if the destination resolves none."""
    config = PostgresConfig.from_config(destination.config, destination.secrets or {})
    if not config.resolve_identities:
        raise DestinationError(f"the destination {destination} does not resolve identities")
    with connect_warehouse(config) as conn:
        graph_schema.ensure_schema(conn, config.identity_schema, destination.public_id)
        yield IdentityStore(conn, config.identity_schema, destination.namespaces())


@contextmanager
def connect_pooled(destination: Destination) -> Iterator[IdentityStore]:
    """Open the identities for reads, on a connection that this thread keeps for later requests."""
    config = PostgresConfig.from_config(destination.config, destination.secrets or {})
    pool: dict[str, Conn] = _pool.__dict__
    key = config.conninfo()
    conn = pool.pop(key, None)
    if conn is None or conn.broken or conn.closed:
        conn = connect_warehouse(config)
        graph_schema.read_meta(conn, config.identity_schema)
    try:
        yield IdentityStore(conn, config.identity_schema, destination.namespaces())
    finally:
        pool[key] = conn
        while len(pool) > MAX_POOLED:
            pool.pop(next(iter(pool))).close()


def close_pooled() -> None:
    """Close the connections that this thread keeps."""
    while _pool.__dict__:
        _pool.__dict__.popitem()[1].close()


def stated_pairs(
    destination: Destination, identities: IdentityStore, message_id: str
) -> list[tuple[Identifier, Identifier]]:
    """All links that the events with this messageId in the log state."""
    rules = graph_schema.read_rules(identities.conn, identities.schema)
    connections = destination.connections.values_list("source_id", "source__public_id")
    public_ids = dict(connections)
    events = Event.objects.filter(message_id=message_id, source_id__in=public_ids).order_by("id")
    stated = (
        _identifiers(event.payload, public_ids[event.source_id], rules)
        for event in events[:MAX_EVENTS]
    )
    return [pair for identifiers in stated for pair in combinations(identifiers, 2)]


def _identifiers(payload: str, source_id: str, rules: Rules) -> tuple[Identifier, ...]:
    try:
        stated = statement(json.loads(payload), source_id, rules)
    except MalformedMergeError:
        return ()
    return stated.identifiers if stated else ()
