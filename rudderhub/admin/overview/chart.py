"""The bar chart of events by time and type: the numbers of an SVG."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from events.log.counts import BinCount

WIDTH, HEIGHT, GAP = 600, 120, 0.15
"""The size in pixels, and the part of a bar's step that stays empty."""
SHADES = ("track", "page", "identify", "screen", "group", "alias", "merge")


@dataclass(frozen=True)
class Block:
    """The events of one type in one bar."""

    x: float
    y: float
    width: float
    height: float
    shade: int
    title: str


@dataclass(frozen=True)
class Chart:
    blocks: Sequence[Block]
    legend: Sequence[tuple[str, int, int]]
    """The name, shade and total of each type."""
    peak: int
    total: int
    width: int = WIDTH
    height: int = HEIGHT


def chart(counts: Sequence[BinCount], since: datetime, length: timedelta, bins: int) -> Chart:
    """The chart of the counts from `since` on, in `bins` bars of this length of time."""
    totals, bars = Counter[str](), Counter[datetime]()
    for count in counts:
        totals[count.type] += count.events
        bars[count.start] += count.events
    peak = max(bars.values(), default=0)
    below = Counter[datetime]()
    blocks = []
    for count in sorted(counts, key=lambda count: (count.start, shade(count.type), count.type)):
        number = round((count.start - since) / length)
        blocks.append(_block(count, number, bins, peak, below[count.start]))
        below[count.start] += count.events
    legend = [(name, shade(name), events) for name, events in totals.most_common()]
    return Chart(blocks, legend, peak, totals.total())


def shade(name: str) -> int:
    """The number of a type's CSS class; all types without one share the last."""
    return SHADES.index(name) if name in SHADES else len(SHADES)


def _block(count: BinCount, number: int, bins: int, peak: int, below: int) -> Block:
    step = WIDTH / bins
    height = HEIGHT * count.events / peak
    return Block(
        x=round(step * (number + GAP / 2), 2),
        y=round(HEIGHT - HEIGHT * below / peak - height, 2),
        width=round(step * (1 - GAP), 2),
        height=round(max(height, 0.5), 2),
        shade=shade(count.type),
        title=f"{count.start:%Y-%m-%d %H:%M} UTC: {count.events:,} {count.type}",
    )
