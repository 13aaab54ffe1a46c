"""Sizes from small to large, and how many steps each gets."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Level", "pyramid"]

# pixels on the short side; below that the network's deepest layers see almost nothing
SMALLEST = 64


class Level(NamedTuple):
    """One size of the pyramid, in pixels, its scale against the last, and its steps.

    finish: whether the steps are made with the network's finisher.
    """

    height: int
    width: int
    scale: float
    steps: int
    finish: bool = False


def pyramid(
    height: int, width: int, levels: int, ratio: float, steps: int, step_ratio: float
) -> list[Level]:
    """At most `levels` levels that end at height x width; each is `ratio` times larger than the one
    before.

    `steps` in all are split so that a level has about `step_ratio` times the steps of the one
    before, and at least one. Levels whose short side would be under 64 pixels are left out.
    """
    scales = [
        ratio**-k for k in range(levels) if k == 0 or min(height, width) * ratio**-k >= SMALLEST
    ]
    scales = sorted(scales)[-steps:]
    left = steps - len(scales)  # every level gets one; these are split
    shares = [step_ratio**k for k in range(len(scales))]
    ends = [0, *(round(left * sum(shares[: k + 1]) / sum(shares)) for k in range(len(scales)))]
    return [
        Level(max(1, round(height * scale)), max(1, round(width * scale)), scale, 1 + end - start)
        for scale, start, end in zip(scales, ends[:-1], ends[1:], strict=True)
    ]
