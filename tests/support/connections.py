"""Connections to the tests' warehouse, and events in the log for them."""

from __future__ import annotations

from events.log import writer
from tests.support.events import NOW, parsed_event
from tests.support.factories import make_connection, make_destination, make_source
from tests.support.warehouse import address


def make_warehouse_connection(url, source=None, **config):
    own, secrets = address(url)
    destination = make_destination(own | config, secrets)
    return make_connection(source or make_source(name="Shop"), destination)


def send(connection, *events, received_at=NOW):
    """Append the events to the log, as the gateway does."""
    writer.append(
        connection.source_id, received_at, [*map(parsed_event, events)], timeout_seconds=60
    )
