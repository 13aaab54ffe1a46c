"""Find the rims of a picture: margins of a few pixels, of cut edges and ringing of JPEG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from impasto.images.edges import FILLED, NEAR, WRITTEN, Box, block, edge_of, plain_color

__all__ = ["without_rims"]

NOISIEST = 4 / 255  # deviation of a strip: more is a texture
ROUGHEST = 20 / 255  # deviation of a rim, which is mostly blur and ringing
RIM_TOLERANCE = 24 / 255  # from a rim's color, at least
HALF_FILLED = 0.5  # of a rim that other sides have too
THIN = 0.05  # of the picture's size: a rim
THINNEST = 0.02  # one that a side may have alone: a strip of water or floor is mostly wider
SEARCHED = 0.25  # of the picture's size, within which the color of a rim must not fill rows again


class Rim(NamedTuple):
    """A thin margin of one side, `depth` pixels of a color; certain: also if it is the only one."""

    depth: int
    color: np.ndarray
    certain: bool


def without_rims(image: np.ndarray, box: Box) -> Box:
    """A box without the rims of its sides, at most THIN of its size on each; they may be nested."""
    height, width = box.bottom - box.top, box.right - box.left
    most = [block(THIN, size) for size in (height, height, width, width)]
    while True:
        part = image[box.top : box.bottom, box.left : box.right]
        turned = part.transpose(1, 0, 2)
        rims = [
            _rim(lines, left)
            for lines, left in zip((part, part[::-1], turned, turned[::-1]), most, strict=True)
        ]
        depths = [rim.depth if rim and (rim.certain or _has_like(rims, rim)) else 0 for rim in rims]
        if not any(depths):
            return box
        most = [left - depth for left, depth in zip(most, depths, strict=True)]
        top, bottom, left_, right = depths
        box = Box(box.top + top, box.bottom - bottom, box.left + left_, box.right - right)


def _has_like(rims: Sequence[Rim | None], rim: Rim) -> bool:
    """Whether another side has a rim of the same color."""
    return any(
        other is not None
        and other is not rim
        and float(np.abs(other.color - rim.color).max()) <= NEAR
        for other in rims
    )


def _rim(lines: np.ndarray, most: int) -> Rim | None:
    """The rim of a side of an image, lines (n, m, 3) inward; most: how deep it may be."""
    plain = plain_color(lines[0], ROUGHEST, WRITTEN, RIM_TOLERANCE)
    if plain is None or most < 2:
        return None
    distance = np.abs(lines[: round(SEARCHED * len(lines))] - plain.color).max(2)
    shares = (distance > plain.tolerance).mean(1)
    margin = int(np.argmax(shares > WRITTEN))
    if not margin:
        return None
    depth = edge_of(distance, len(lines), margin, plain.tolerance, FILLED)
    filled = 2 <= depth <= most
    if not filled:
        depth = edge_of(distance, len(lines), margin, plain.tolerance, HALF_FILLED)
    again = (distance[depth:] <= NEAR).mean(1)
    if not 1 <= depth <= most or float(again.max(initial=0)) > HALF_FILLED:
        return None
    inside = lines[depth : depth + max(4, round(0.02 * len(lines)))].reshape(-1, 3)
    striped = plain_color(inside, NOISIEST, WRITTEN) is not None
    narrow = depth <= max(3, round(THINNEST * len(lines)))
    return Rim(depth, plain.color, filled and narrow and not striped)
