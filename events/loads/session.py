"""Opens a connection's session with its destination."""

from __future__ import annotations

from collections.abc import Callable

from destinations.interface import Chunk, Feed, LoadResult, PreparedChunk, Session
from destinations.models import Connection
from destinations.registry import destination_type

ReadChunk = Callable[[int, int], Chunk]
"""The next events after an id, at most a number of them."""

RecordChunk = Callable[[PreparedChunk, LoadResult], None]
"""Records a chunk that is committed."""


def open_session(connection: Connection, cursor_id: int) -> Session:
    """A session with this cursor; the first session of a connection fixes its namespace."""
    destination = connection.destination
    kind = destination_type(destination.type)
    if not connection.namespace:
        connection.namespace = kind.namespace(destination.config, connection.source.name)
        connection.save(update_fields=["namespace"])
    return kind.open(
        destination.config, destination.secrets, connection_feed(connection, cursor_id)
    )


def connection_feed(connection: Connection, cursor_id: int) -> Feed:
    return Feed(
        connection_id=cursor_id,
        namespace=connection.namespace,
        source_id=connection.source.public_id,
        source_type=connection.source.type,
        source_category=connection.source.category,
        destination_id=connection.destination.public_id,
        destination_type=connection.destination.type,
        namespaces=connection.destination.namespaces(),
        event_filter=connection.event_filter,
    )
