"""Find the color of a plain margin, and where the picture within it begins."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

__all__ = [
    "CLEAN",
    "FILLED",
    "NEAR",
    "WRITTEN",
    "Box",
    "PlainColor",
    "block",
    "edge_of",
    "plain_color",
]

TOLERANCE = 8 / 255  # from a margin's color, and NOISES of its own deviations more
NOISES = 4
WRITTEN = 0.12  # share of a row, within a margin, that may: a signature, a shadow
FILLED = 0.75  # share of a picture's first row that has another color: fewer is a drawing on paper
CLEAN = 0.97  # of the share of other colors within: what is cut off ends where a row has so much
RISING = 0.02  # of that share, within 0.5 % of the picture's size, while the picture begins
STEP = 16 / 255  # between a margin and the picture, at least: less is a gradient
TIMES = 2.5  # a margin's own distance from its color: so much farther is the picture, at least
UNEVEN = 0.05  # of the picture's size: how far an edge may be slanted or torn
NEAR = 12 / 255  # from a color: about the same


class Box(NamedTuple):
    """A part of a picture, in pixels: rows from `top` to `bottom`, columns `left` to `right`."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return (self.bottom - self.top) * (self.right - self.left)

    def moved(self, down: int, right: int) -> Box:
        """Return the box that is so many pixels lower and further to the right."""
        return Box(self.top + down, self.bottom + down, self.left + right, self.right + right)

    def cut(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return this part of `pixels` (..., H, W)."""
        return pixels[..., self.top : self.bottom, self.left : self.right]


class PlainColor(NamedTuple):
    """The color of a margin, (3,), and how far its pixels may be from it."""

    color: np.ndarray
    tolerance: float


def plain_color(
    pixels: np.ndarray, noisiest: float, stray: float, tolerance: float = TOLERANCE
) -> PlainColor | None:
    """The color of pixels (n, 3) that are plain, or None.

    Args:
        pixels: of a row, or more.
        noisiest: the largest deviation.
        stray: the share of pixels that may have other colors.
        tolerance: the least distance that is another color.
    """
    color = np.median(pixels, axis=0)
    distance = np.abs(pixels - color)
    noise = 1.48 * float(np.median(distance, axis=0).max())
    tolerance = max(tolerance, TOLERANCE + NOISES * noise)
    if noise > noisiest or float((distance.max(1) > tolerance).mean()) > stray:
        return None
    return PlainColor(color, tolerance)


def edge_of(distance: np.ndarray, size: int, margin: int, tolerance: float, filled: float) -> int:
    """Where a picture begins, abruptly and nearly in a straight line; 0 if it does not.

    A few rows between are neither: a slanted scan, torn paper, ringing of JPEG in blocks.

    Args:
        distance: of the pixels from the margin's color, (n, m), with the margin's rows first.
        size: of the picture, as a number of rows.
        margin: the number of rows that are plain.
        tolerance: of the distance: more is another color.
        filled: the share of the picture's first rows that has another color.
    """
    between = block(UNEVEN, size) + round(0.01 * size)
    depth = max(4, round(0.02 * size))
    distance = distance[: margin + 2 * between + 2 * depth + 4]
    shares = (distance > tolerance).mean(1)
    for start in range(margin, margin + between + 1):
        # two rows, so that a line drawn around is not the picture's edge
        if float(shares[start : start + 2].min(initial=1)) >= filled:
            break
    else:
        return 0
    inside = shares[start : start + depth]
    if not len(inside) or float(inside.mean()) < filled:
        return 0
    clean = CLEAN * float(np.median(shares[start : start + 2 * depth]))
    apart = max(1, round(0.005 * size))
    last = min(margin + between, len(shares) - apart - 1)
    while start < last and shares[start] < min(clean, shares[start + apart] - RISING):
        start += 1
    return start if _is_abrupt(distance.mean(1), margin, start, 2 * depth) else 0


def block(share: float, size: int) -> int:
    """A share of `size` in pixels, and a block of JPEG with colors at half the size, if it fits."""
    return max(round(share * size), min(16, round(0.1 * size)))


def _is_abrupt(far: np.ndarray, margin: int, start: int, depth: int) -> bool:
    """Whether colors change between a margin and the picture, and much less within the picture.

    A gradient, of a sky or a vignette, goes on changing as it did.

    Args:
        far: the mean distance of rows (n,) from the margin's color.
        margin, start: where the margin ends and the picture begins.
        depth: how many rows of the picture to look at.
    """
    outside = max(0, margin - 1)
    across = start - outside
    step = far[start] - far[outside]
    inside = far[start : start + depth + across]
    further = np.abs(inside[across:] - inside[:-across])
    if not len(further) or step < max(STEP, TIMES * far[outside]):
        return False
    return bool(np.median(further) <= step / 2)
