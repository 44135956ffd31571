"""The diagram of sources, connections and destinations above the list of connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.urls import reverse

from destinations.models import Connection, Destination
from rudderhub.admin.data.connection_status import ConnectionStatus
from rudderhub.admin.data.diagram_layout import (
    NARROW,
    WIDE,
    Diagram,
    DiagramEdge,
    DiagramNode,
    diagram,
)
from sources.models import Source

MOST_DRAWN = 60


def diagrams(statuses: Sequence[ConnectionStatus], *, everything: bool) -> list[Diagram]:
    """A diagram for wide and one for narrow screens; no diagrams if there is nothing to draw."""
    sources, destinations = _nodes([status.connection for status in statuses], everything)
    edges = [_edge(status) for status in statuses]
    return [
        diagram(sources, destinations, edges, layout)
        for layout in (WIDE, NARROW)
        if sources or destinations
    ]


def _nodes(
    connections: Sequence[Connection], everything: bool
) -> tuple[list[DiagramNode], list[DiagramNode]]:
    """The nodes of the connections; with `everything`, also of records without a connection."""
    sources = {connection.source for connection in connections}
    destinations = {connection.destination for connection in connections}
    if everything:
        sources |= set(Source.objects.exclude(connections__isnull=False)[:MOST_DRAWN])
        destinations |= set(Destination.objects.exclude(connections__isnull=False)[:MOST_DRAWN])
    return _sorted_nodes(sources), _sorted_nodes(destinations)


def _sorted_nodes(records: Iterable[Source | Destination]) -> list[DiagramNode]:
    return [
        DiagramNode(
            record.pk,
            record.name,
            reverse(f"admin:{record._meta.label_lower.replace('.', '_')}_change", args=[record.pk]),  # noqa: SLF001
            record.enabled,
        )
        for record in sorted(records, key=lambda record: (record.name, record.pk))
    ]


def _edge(status: ConnectionStatus) -> DiagramEdge:
    connection, health, lag = status.connection, status.health, status.lag
    events = status.backlog.events
    note = f"{events:,} pending" if events else "nothing pending"
    return DiagramEdge(
        connection.source_id,
        connection.destination_id,
        health.kind,
        health.word,
        f"{note}, {lag}" if lag else note,
        f"{connection}: {health.word}, {note}" + (f", for {lag}" if lag else ""),
        reverse("admin:destinations_connection_change", args=[connection.pk]),
    )
