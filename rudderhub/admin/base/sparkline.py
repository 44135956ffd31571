"""The path of an SVG that draws counts as a row of small bars."""

from __future__ import annotations

from collections.abc import Sequence

STEP, GAP, HEIGHT = 4, 1, 24


def width(counts: Sequence[int]) -> int:
    return STEP * len(counts)


def bars_path(counts: Sequence[int]) -> str:
    """The path of the bars; the highest fills the picture, and every count above 0 is visible."""
    peak = max(counts, default=0)
    heights = [max(round(HEIGHT * count / peak), 1) if count else 0 for count in counts]
    return "".join(
        f"M{STEP * place} {HEIGHT}v-{height}h{STEP - GAP}v{height}z"
        for place, height in enumerate(heights)
        if height
    )
