"""Compute the sizes of a run's levels, small to large, and the number of steps of each."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Level", "pyramid"]

# pixels of a level's short side; below it the network's deepest features are almost empty
SMALLEST = 64


class Level(NamedTuple):
    """One level of the pyramid.

    height, width: in pixels. scale: relative to the last level. steps: the number of solver steps.
    finish: whether the network's finisher makes them.
    """

    height: int
    width: int
    scale: float
    steps: int
    finish: bool = False


def pyramid(
    height: int, width: int, levels: int, ratio: float, steps: int, step_ratio: float
) -> list[Level]:
    """Compute the levels of a run, small to large; the last is height x width.

    Args:
        height, width: of the painting, in pixels.
        levels: the largest number of levels. Those with a short side under 64 pixels are left out.
        ratio: the size of a level relative to the previous one.
        steps: of all levels together; each level has at least one.
        step_ratio: the steps of a level relative to the previous one, about.
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
