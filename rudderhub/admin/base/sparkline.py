"""Draws a line of small bars as the path of an SVG."""

from __future__ import annotations

from collections.abc import Sequence

STEP, GAP, HEIGHT = 4, 1, 24


def width(counts: Sequence[int]) -> int:
    return STEP * len(counts)


def bars(counts: Sequence[int]) -> str:
    """The path of the bars; the highest fills the picture, and every count above 0 is visible."""
    peak = max(counts, default=0)
    return "".join(_bar(place, _height(count, peak)) for place, count in enumerate(counts) if count)


def _height(count: int, peak: int) -> int:
    return max(round(HEIGHT * count / peak), 1)


def _bar(place: int, height: int) -> str:
    return f"M{STEP * place} {HEIGHT}v-{height}h{STEP - GAP}v{height}z"
