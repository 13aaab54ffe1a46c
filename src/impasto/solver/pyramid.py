"""Sizes from small to large, and how many steps each gets."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Level", "pyramid"]

SMALLEST = 64  # pixels on the short side; below that the network's deepest layers see almost nothing


class Level(NamedTuple):
    """One size of the pyramid, in pixels, its scale against the last, and its share of the steps."""

    height: int
    width: int
    scale: float
    steps: int


def pyramid(height: int, width: int, levels: int, ratio: float, steps: int, step_ratio: float) -> list[Level]:
    """At most `levels` levels that end at height x width; each is `ratio` times larger than the one before.

    `steps` in all are split so that a level has `step_ratio` times the steps of the one before; levels whose short
    side would be under 64 pixels, and levels without a step, are left out.
    """
    scales = [ratio**-k for k in range(levels) if k == 0 or min(height, width) * ratio**-k >= SMALLEST]
    scales = sorted(scales)[-steps:]
    shares = [step_ratio**k for k in range(len(scales))]
    ends = [round(steps * sum(shares[: k + 1]) / sum(shares)) for k in range(len(scales))]
    counts = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    return [
        Level(max(1, round(height * scale)), max(1, round(width * scale)), scale, count)
        for scale, count in zip(scales, counts, strict=True)
        if count
    ]
