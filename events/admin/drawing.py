"""Connections as the nodes and edges of their picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.urls import reverse

from destinations.models import Connection, Destination
from events.admin.fare import backlog_of, health_of, lag_of
from events.admin.picture import NARROW, WIDE, Edge, Node, Picture, picture
from sources.models import Source

MOST_DRAWN = 60


def pictures(connections: Sequence[Connection], *, everything: bool) -> list[Picture]:
    """For wide and for narrow screens; none when there is nothing to draw."""
    sources, destinations = _nodes(connections, everything=everything)
    edges = [_edge(each) for each in connections]
    return [
        picture(sources, destinations, edges, layout)
        for layout in (WIDE, NARROW)
        if sources or destinations
    ]


def _nodes(connections: Sequence[Connection], *, everything: bool) -> tuple[list[Node], list[Node]]:
    """Those of the connections; also the others, when everything is shown."""
    sources = {each.source for each in connections}
    destinations = {each.destination for each in connections}
    if everything:
        sources |= set(Source.objects.exclude(connections__isnull=False)[:MOST_DRAWN])
        destinations |= set(Destination.objects.exclude(connections__isnull=False)[:MOST_DRAWN])
    return _sorted_nodes(sources), _sorted_nodes(destinations)


def _sorted_nodes(found: Iterable[Source | Destination]) -> list[Node]:
    ordered = sorted(found, key=lambda each: (each.name, each.pk))
    return [
        Node(
            each.pk,
            each.name,
            reverse(f"admin:{each._meta.label_lower.replace('.', '_')}_change", args=[each.pk]),  # noqa: SLF001
            each.enabled,
        )
        for each in ordered
    ]


def _edge(connection: Connection) -> Edge:
    found, backlog, lag = health_of(connection), backlog_of(connection), lag_of(connection)
    note = f"{backlog.events:,} pending" if backlog.events else "nothing pending"
    return Edge(
        connection.source_id,
        connection.destination_id,
        found.kind,
        found.word,
        f"{note}, {lag}" if lag else note,
        f"{connection}: {found.word}, {note}" + (f", for {lag}" if lag else ""),
        reverse("admin:destinations_connection_change", args=[connection.pk]),
    )
