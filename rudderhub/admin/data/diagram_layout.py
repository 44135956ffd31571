"""The layout of the diagram of sources, connections and destinations: the numbers of an SVG.

It has three columns. Each connection is a box between its source and its destination, so that
labels never overlap, however many connections there are. This module does not import Django.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

ROW, BOX = 54, 44
ICONS = {"good": "✓", "wait": "…", "bad": "✗", "off": "‖"}


@dataclass(frozen=True)
class DiagramNode:
    key: Hashable
    name: str
    url: str
    on: bool = True


@dataclass(frozen=True)
class DiagramEdge:
    """A connection; `note` is its second line, `alternative` its text for screen readers."""

    source: Hashable
    destination: Hashable
    kind: str
    word: str
    note: str
    alternative: str
    url: str


@dataclass(frozen=True)
class Layout:
    """The widths of the diagram and its boxes, and how many letters fit into a box.

    A narrow diagram names the destination in the connection's box, because its lines crowd.
    """

    name: str
    width: int
    end: int
    middle: int
    letters: int
    middle_letters: int
    names_destination: bool


WIDE = Layout("wide", 960, 220, 260, 26, 34, names_destination=False)
NARROW = Layout("narrow", 360, 104, 116, 14, 18, names_destination=True)


@dataclass(frozen=True)
class DiagramBox:
    x: float
    y: float
    width: float
    lines: Sequence[str]
    kind: str
    alternative: str
    url: str
    height: float = BOX

    @property
    def left(self) -> tuple[float, float]:
        return self.x, self.y + BOX / 2

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.width, self.y + BOX / 2

    @property
    def texts(self) -> list[tuple[float, float, str]]:
        """Each line of text with the x and y of its middle."""
        step = BOX / (len(self.lines) + 1)
        middle = self.x + self.width / 2
        return [(middle, self.y + step * n, line) for n, line in enumerate(self.lines, 1)]


@dataclass(frozen=True)
class DiagramLine:
    path: str
    kind: str


@dataclass(frozen=True)
class Diagram:
    layout: Layout
    height: float
    boxes: Sequence[DiagramBox]
    lines: Sequence[DiagramLine]


def diagram(
    sources: Sequence[DiagramNode],
    destinations: Sequence[DiagramNode],
    edges: Sequence[DiagramEdge],
    layout: Layout,
) -> Diagram:
    """Edges in the order of their sources, destinations near them, and lone nodes below."""
    places = {node.key: place for place, node in enumerate(sources)}
    edges = sorted(edges, key=lambda edge: places[edge.source])
    starts, lone_starts = _by_edges(sources, [edge.source for edge in edges])
    ends, lone_ends = _by_edges(destinations, [edge.destination for edge in edges])
    joined = ROW * max(len(starts), len(edges), len(ends))
    x = layout.width - layout.end
    left = {node.key: _node_box(node, 0, y, layout) for node, y in _spread_nodes(starts, joined)}
    right = {node.key: _node_box(node, x, y, layout) for node, y in _spread_nodes(ends, joined)}
    names = {node.key: f"→ {node.name}" for node in ends} if layout.names_destination else {}
    middle = _edge_boxes(edges, names, layout, joined)
    lone = [_node_box(node, 0, y, layout) for node, y in _nodes_below(lone_starts, joined)]
    lone += [_node_box(node, x, y, layout) for node, y in _nodes_below(lone_ends, joined)]
    lines = [
        DiagramLine(_curve(*ends), edge.kind)
        for edge, box in zip(edges, middle, strict=True)
        for ends in (
            (left[edge.source].right, box.left),
            (box.right, right[edge.destination].left),
        )
    ]
    height = joined + ROW * max(len(lone_starts), len(lone_ends))
    return Diagram(layout, height, [*left.values(), *middle, *right.values(), *lone], lines)


def _by_edges(
    nodes: Sequence[DiagramNode], joined: Sequence[Hashable]
) -> tuple[list[DiagramNode], list[DiagramNode]]:
    """Nodes with edges, sorted by the mean place of these so that few lines cross; the others."""
    places = defaultdict(list)
    for place, key in enumerate(joined):
        places[key].append(place)
    mean = {key: sum(rows) / len(rows) for key, rows in places.items()}
    by_place = sorted((node for node in nodes if node.key in mean), key=lambda n: mean[n.key])
    return by_place, [node for node in nodes if node.key not in mean]


def _spread_nodes(
    nodes: Sequence[DiagramNode], height: float
) -> Iterable[tuple[DiagramNode, float]]:
    return zip(nodes, _rows(len(nodes), height), strict=True)


def _nodes_below(
    nodes: Sequence[DiagramNode], height: float
) -> Iterable[tuple[DiagramNode, float]]:
    return ((node, height + ROW * place + (ROW - BOX) / 2) for place, node in enumerate(nodes))


def _node_box(node: DiagramNode, x: float, y: float, layout: Layout) -> DiagramBox:
    return DiagramBox(
        x,
        y,
        layout.end,
        [_short(node.name, layout.letters)],
        "node" if node.on else "off",
        node.name if node.on else f"{node.name}, off",
        node.url,
    )


def _edge_boxes(
    edges: Sequence[DiagramEdge], names: Mapping[Hashable, str], layout: Layout, height: float
) -> list[DiagramBox]:
    x = (layout.width - layout.middle) / 2
    return [
        DiagramBox(
            x,
            y,
            layout.middle,
            [
                _short(f"{ICONS[edge.kind]} {edge.word}", layout.middle_letters),
                _short(names.get(edge.destination, edge.note), layout.middle_letters),
            ],
            edge.kind,
            edge.alternative,
            edge.url,
        )
        for edge, y in zip(edges, _rows(len(edges), height), strict=True)
    ]


def _rows(count: int, height: float) -> list[float]:
    """The y of each box when `count` boxes are spread over the height."""
    step = height / max(count, 1)
    return [round(step * (place + 0.5) - BOX / 2, 1) for place in range(count)]


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    bend = (x1 + x2) / 2
    return f"M{x1:g} {y1:g}C{bend:g} {y1:g} {bend:g} {y2:g} {x2:g} {y2:g}"


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1].rstrip()}…"
