"""The layout of a profile's graph: its identifiers as boxes and its links as lines of an SVG.

The same graph always gives the same numbers. There are up to three lanes: users in the middle,
devices on the left, everything else on the right. Inside a lane an identifier stands near those
that it is linked with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from destinations.warehouse.identity.statements import ANONYMOUS_ID, USER_ID

MOST_NODES, MOST_LINES = 60, 300
LABELLED = 12
"""With more lines, a label shows only while its line has the focus or the pointer."""

BOX_WIDTH, BOX_HEIGHT, PITCH = 200, 38, 52
LANE_GAP, MARGIN, BULGE = 116, 12, 22
LONG_LANE, ROUNDS = 10, 4
LABEL_LENGTH, EVENT_LENGTH = 23, 12

Pair = frozenset[str]


class GraphNode(NamedTuple):
    """An identifier; one outside the profile is the far end of a link that does not join."""

    key: str
    type: str
    value: str
    is_member: bool = True


class GraphLink(NamedTuple):
    """A link; its state is "joined", or why it does not join: "cut", "refused" or "hub"."""

    a: str
    b: str
    state: str
    event: str
    title: str


@dataclass(frozen=True)
class GraphBox:
    node: GraphNode
    shape: str
    x: float
    y: float
    label: str
    title: str
    is_on_path: bool


@dataclass(frozen=True)
class GraphLine:
    link: GraphLink
    curve: str
    label: str
    label_x: float
    label_y: float
    title: str
    is_on_path: bool


@dataclass(frozen=True)
class GraphLayout:
    boxes: Sequence[GraphBox]
    lines: Sequence[GraphLine]
    width: float
    height: float
    nodes: int
    """The number of the profile's identifiers, drawn or not."""
    left_out_lines: int
    legend: Sequence[tuple[str, str, int]]
    """The shape, type and number of the boxes."""
    states: Sequence[str]
    has_labels: bool
    box_width: float = BOX_WIDTH
    box_height: float = BOX_HEIGHT


def graph_layout(
    nodes: Sequence[GraphNode], links: Sequence[GraphLink], path: Collection[Pair] = ()
) -> GraphLayout:
    """The layout of at most MOST_NODES identifiers: those on the path, then the most linked."""
    chosen = _most_linked(nodes, links, path)
    kept = {node.key for node in chosen}
    inside = [link for link in links if link.a in kept and link.b in kept]
    inside.sort(key=lambda link: _pair(link) not in path)
    drawn = inside[:MOST_LINES]
    places = _places(chosen, drawn)
    on_path = {key for pair in path for key in pair}
    boxes = [_box(node, places[node.key], on_path) for node in chosen]
    lines = sorted(
        (_line(link, places, path, chosen) for link in drawn), key=lambda line: line.is_on_path
    )
    return GraphLayout(
        boxes=boxes,
        lines=lines,
        width=max(place.x for place in places.values()) + BOX_WIDTH + _right_margin(drawn, places),
        height=max(place.y for place in places.values()) + BOX_HEIGHT + MARGIN,
        nodes=len(nodes),
        left_out_lines=len(inside) - len(drawn),
        legend=_legend(chosen),
        states=sorted({link.state for link in drawn} - {"joined"}),
        has_labels=len(drawn) <= LABELLED,
    )


def shape(kind: str) -> str:
    """The shape of an identifier's type, so that types differ not only by colour."""
    if kind == USER_ID:
        return "circle"
    return "square" if kind == ANONYMOUS_ID else "diamond"


@dataclass
class _Place:
    lane: int
    x: float
    y: float = 0


@dataclass
class _Lanes:
    """The keys of each lane, from the top."""

    keys: list[list[str]]
    neighbours: Mapping[str, Sequence[str]]
    y: dict[str, float] = field(default_factory=dict)

    def settle(self) -> None:
        """Order each lane by its neighbours, and give every box its height."""
        longest = max(range(len(self.keys)), key=lambda number: len(self.keys[number]))
        self._stack(longest)
        for number in range(len(self.keys)):
            if number != longest:
                self._stand_beside(number)
        for _ in range(ROUNDS):
            self.keys[longest].sort(key=self._wished_y)
            self._stack(longest)
            for number in range(len(self.keys)):
                if number != longest:
                    self._stand_beside(number)

    def _stack(self, number: int) -> None:
        for row, key in enumerate(self.keys[number]):
            self.y[key] = row * PITCH

    def _stand_beside(self, number: int) -> None:
        """Place each box of a lane as near to its neighbours as the other boxes allow."""
        keys = sorted(self.keys[number], key=self._wished_y)
        wishes = [self._wished_y(key) for key in keys]
        heights: list[float] = []
        for wish in wishes:
            heights.append(max(wish, heights[-1] + PITCH) if heights else wish)
        shift = (sum(wishes) - sum(heights)) / len(heights) if heights else 0
        self.keys[number] = keys
        self.y.update({key: y + shift for key, y in zip(keys, heights, strict=True)})

    def _wished_y(self, key: str) -> float:
        heights = [self.y[other] for other in self.neighbours.get(key, ()) if other in self.y]
        return sum(heights) / len(heights) if heights else self.y.get(key, 0)


def _most_linked(
    nodes: Sequence[GraphNode], links: Iterable[GraphLink], path: Collection[Pair]
) -> Sequence[GraphNode]:
    if len(nodes) <= MOST_NODES:
        return nodes
    degrees = Counter(key for link in links for key in (link.a, link.b))
    on_path = {key for pair in path for key in pair}
    ranked = sorted(nodes, key=lambda node: (node.key not in on_path, -degrees[node.key]))
    kept = {node.key for node in ranked[:MOST_NODES]}
    return [node for node in nodes if node.key in kept]


def _places(nodes: Sequence[GraphNode], links: Sequence[GraphLink]) -> dict[str, _Place]:
    neighbours: dict[str, list[str]] = {}
    for link in links:
        neighbours.setdefault(link.a, []).append(link.b)
        neighbours.setdefault(link.b, []).append(link.a)
    lanes = _Lanes([lane for lane in _lane_keys(nodes, neighbours) if lane], neighbours)
    if len(lanes.keys) > 1:
        lanes.settle()
    else:
        lanes = _folded_lane(lanes)
    top = min(lanes.y.values())
    first = lanes.keys[0]
    left = BULGE * 2 if any(link.a in first and link.b in first for link in links) else 0
    return {
        key: _Place(
            number,
            round(MARGIN + left + number * (BOX_WIDTH + LANE_GAP), 1),
            round(MARGIN + lanes.y[key] - top, 1),
        )
        for number, lane in enumerate(lanes.keys)
        for key in lane
    }


def _lane_keys(
    nodes: Sequence[GraphNode], neighbours: Mapping[str, Sequence[str]]
) -> list[list[str]]:
    """Keys of devices, users and other identifiers; a long side gives some to the other side."""
    sides: dict[str, list[str]] = {"square": [], "circle": [], "diamond": []}
    for node in nodes:
        sides[shape(node.type)].append(node.key)
    left, middle, right = sides.values()
    if middle and max(len(left), len(right)) > LONG_LANE:
        longer, shorter = (left, right) if len(left) > len(right) else (right, left)
        surplus = (len(longer) - len(shorter)) // 2
        longer.sort(key=lambda key: -len(neighbours.get(key, ())))
        shorter += longer[len(longer) - surplus :]
        del longer[len(longer) - surplus :]
    return [left, middle, right]


def _folded_lane(lanes: _Lanes) -> _Lanes:
    """Several lanes from a single one: neighbours in a row, down one lane and up the next."""
    keys = _depth_first(lanes.keys[0], lanes.neighbours)
    rows = max(3, -(-len(keys) // 3))
    folded = [keys[start : start + rows] for start in range(0, len(keys), rows)]
    for lane in folded[1::2]:
        lane.reverse()
    y: dict[str, float] = {}
    for number, lane in enumerate(folded):
        offset = rows - len(lane) if number % 2 else 0
        y.update({key: (row + offset) * PITCH for row, key in enumerate(lane)})
    return _Lanes(folded, lanes.neighbours, y)


def _depth_first(keys: Sequence[str], neighbours: Mapping[str, Sequence[str]]) -> list[str]:
    """The keys from one end of the chain, if they form one, in the order of a walk along it."""
    walked: dict[str, None] = {}
    for start in sorted(keys, key=lambda key: len(neighbours.get(key, ()))):
        stack = [start]
        while stack:
            key = stack.pop()
            if key not in walked:
                walked[key] = None
                stack += [other for other in neighbours.get(key, ()) if other not in walked]
    return list(walked)


def _box(node: GraphNode, place: _Place, on_path: Collection[str]) -> GraphBox:
    joins = "" if node.is_member else ", not in this profile"
    return GraphBox(
        node=node,
        shape=shape(node.type),
        x=place.x,
        y=place.y,
        label=_clipped(node.value, LABEL_LENGTH),
        title=f"{node.type} {node.value}{joins}",
        is_on_path=node.key in on_path,
    )


def _line(
    link: GraphLink,
    places: Mapping[str, _Place],
    path: Collection[Pair],
    nodes: Sequence[GraphNode],
) -> GraphLine:
    values = {node.key: f"{node.type} {node.value}" for node in nodes}
    a, b = sorted((places[link.a], places[link.b]), key=attrgetter("lane"))
    curve, x, y = _curve(a, b, places.values())
    return GraphLine(
        link=link,
        curve=curve,
        label=_clipped(link.event, EVENT_LENGTH),
        label_x=x,
        label_y=y,
        title=f"{values[link.a]} to {values[link.b]}: {link.title}",
        is_on_path=_pair(link) in path,
    )


def _curve(a: _Place, b: _Place, places: Iterable[_Place]) -> tuple[str, float, float]:
    """The SVG path between two boxes, and a point in its middle."""
    y1, y2 = a.y + BOX_HEIGHT / 2, b.y + BOX_HEIGHT / 2
    if a.lane == b.lane:
        return _arc(a, y1, y2)
    x1, x2 = a.x + BOX_WIDTH, b.x
    between = [place for place in places if a.lane < place.lane < b.lane]
    if between:
        return _curve_through((x1, y1), (x2, y2), between)
    bend = (x2 - x1) / 2
    return _cubic((x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2))


def _curve_through(
    start: tuple[float, float], end: tuple[float, float], between: Sequence[_Place]
) -> tuple[str, float, float]:
    """A curve that passes a lane through the nearest gap between two of its boxes."""
    space = (PITCH - BOX_HEIGHT) / 2
    gaps = [gap for at in between for gap in (at.y - space, at.y + BOX_HEIGHT + space)]
    wished = (start[1] + end[1]) / 2
    y = min(gaps, key=lambda gap: abs(gap - wished))
    left, right = between[0].x, between[0].x + BOX_WIDTH
    before, _, _ = _cubic(
        (*start, start[0] + LANE_GAP / 2, start[1], left - LANE_GAP / 2, y, left, y)
    )
    after, _, _ = _cubic((right, y, right + LANE_GAP / 2, y, end[0] - LANE_GAP / 2, end[1], *end))
    return f"{before}H{right}{after}", round((left + right) / 2, 1), round(y, 1)


def _arc(a: _Place, y1: float, y2: float) -> tuple[str, float, float]:
    """A curve within a lane: straight to the next box, else around the side of the lane."""
    if abs(y2 - y1) <= PITCH:
        x = a.x + BOX_WIDTH / 2
        first, last = min(y1, y2) + BOX_HEIGHT / 2, max(y1, y2) - BOX_HEIGHT / 2
        return _cubic((x, first, x, first, x, last, x, last))
    out = BULGE + min(abs(y2 - y1) / PITCH, 8) * BULGE / 4
    x = a.x if a.lane == 0 else a.x + BOX_WIDTH
    out = -out if a.lane == 0 else out
    return _cubic((x, y1, x + out, y1, x + out, y2, x, y2))


def _cubic(numbers: tuple[float, ...]) -> tuple[str, float, float]:
    x1, y1, x2, y2, x3, y3, x4, y4 = (round(number, 1) for number in numbers)
    middle_x, middle_y = (x1 + 3 * x2 + 3 * x3 + x4) / 8, (y1 + 3 * y2 + 3 * y3 + y4) / 8
    return f"M{x1} {y1}C{x2} {y2} {x3} {y3} {x4} {y4}", round(middle_x, 1), round(middle_y, 1)


def _right_margin(links: Sequence[GraphLink], places: Mapping[str, _Place]) -> float:
    """The margin, with room for arcs beside the last lane."""
    last = max(place.lane for place in places.values())
    arcs = any(places[link.a].lane == places[link.b].lane == last for link in links)
    return MARGIN + (3 * BULGE if arcs and last else 0)


def _legend(nodes: Iterable[GraphNode]) -> list[tuple[str, str, int]]:
    counts = Counter(node.type for node in nodes)
    return [(shape(kind), kind, count) for kind, count in counts.most_common()]


def _pair(link: GraphLink) -> Pair:
    return frozenset((link.a, link.b))


def _clipped(text: str, length: int) -> str:
    """The beginning and the end of a long text, because ids often differ in only one of them."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return f"{text[:head]}…{text[head + 1 - length :]}"
