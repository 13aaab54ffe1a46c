"""Find the margins of a picture that are no part of it: bars, borders of paper, transparency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from impasto.images.read import SMALLEST, resize

__all__ = ["Box", "is_flat", "opaque_box", "picture_box"]

SEEN = 1 / 255  # of opacity: less is not seen
TOLERANCE = 8 / 255  # from a margin's color, and NOISES of its own deviations more
NOISES = 4
NOISIEST = 4 / 255  # deviation of a strip: more is a texture
ROUGH_PAPER = 10 / 255  # deviation of a margin on two sides or more
ROUGHEST = 20 / 255  # deviation of a rim, which is mostly blur and ringing
RIM_TOLERANCE = 24 / 255  # from a rim's color, at least
STRAY = 0.01  # share of a margin's row that may have another color: dust, ringing of JPEG
WRITTEN = 0.12  # share of a row, within a margin, that may: a signature, a shadow
CAPTION = 0.3  # share of a row of letters, of a row of the picture
FILLED = 0.75  # share of a picture's first row that has another color: fewer is a drawing on paper
HALF_FILLED = 0.5  # of a rim that other sides have too
CLEAN = 0.97  # of the share of other colors within: what is cut off ends where a row has so much
RISING = 0.02  # of that share, within 0.5 % of the picture's size, while the picture begins
STEP = 16 / 255  # between a margin and the picture, at least: less is a gradient
TIMES = 2.5  # a margin's own distance from its color: so much farther is the picture, at least
UNEVEN = 0.05  # of the picture's size: how far an edge may be slanted or torn
NESTED = 3  # margins within each other
BLACK, WHITE = 4 / 255, 251 / 255  # of a bar that is alone
DEEPEST_BAR = 0.3  # of the picture's size
THIN = 0.05  # of the picture's size: a rim
THINNEST = 0.02  # one that a side may have alone: a strip of water or floor is mostly wider
SEARCHED = 0.25  # of the picture's size, within which the color of a rim must not fill rows again
LEAST_SHARE = 0.01  # of the picture: less of a margin is at most a rim
MOST_SHARE = 15 / 16  # of the picture: what is plain but for so little is meant to be so
NEAR = 12 / 255  # from the color of a flat picture
MOSTLY = 0.9  # share of a flat picture's pixels that are so near


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


def opaque_box(alpha: torch.Tensor) -> Box:
    """Return the smallest part with all of a picture that is seen; alpha (1, 1, H, W).

    It is at least 16 x 16 pixels.
    """
    seen = (alpha[0, 0] > SEEN).numpy()
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    height, width = seen.shape
    if not len(rows):
        return Box(0, height, 0, width)
    return Box(
        *_at_least(SMALLEST, int(rows[0]), int(rows[-1]) + 1, height),
        *_at_least(SMALLEST, int(columns[0]), int(columns[-1]) + 1, width),
    )


def _at_least(least: int, start: int, stop: int, size: int) -> tuple[int, int]:
    """Widen an interval of [0, size] to `least`, on both sides alike."""
    start = min(max(0, start - max(0, least - (stop - start)) // 2), size - least)
    return start, max(stop, start + least)


def picture_box(pixels: torch.Tensor) -> Box | None:
    """Return the part of a picture within its plain margins, or None if it has none.

    A margin is plain: one color but for a little noise, on two sides or more. The picture in it
    begins abruptly, in a line that is nearly straight, where most pixels have another color. So a
    drawing on white paper keeps its paper, and a dark sky above a landscape is none. A rim of a few
    pixels may be on one side only.

    Args:
        pixels: (1, 3, H, W) in [0, 1].
    """
    image = pixels[0].permute(1, 2, 0).numpy()  # (H, W, 3)
    whole = Box(0, image.shape[0], 0, image.shape[1])
    box = _without_paper(image)
    if not LEAST_SHARE <= 1 - box.area / whole.area <= MOST_SHARE or is_flat(box.cut(pixels)):
        box = whole
    box = _without_rims(image, box)
    small = min(box.bottom - box.top, box.right - box.left) < SMALLEST
    return None if box == whole or small or is_flat(box.cut(pixels)) else box


def _without_paper(image: np.ndarray) -> Box:
    """The part of an image (H, W, 3) within margins of one color on two sides or more.

    Margins may be nested: a bar around the paper around a picture.
    """
    height, width = image.shape[:2]
    found = Box(0, height, 0, width)
    for _ in range(NESTED):
        part = image[found.top : found.bottom, found.left : found.right]
        boxes = []
        for side in (part[0], part[-1], part[:, 0], part[:, -1]):
            if (plain := _plain_color(side, ROUGH_PAPER, WRITTEN)) is not None:
                distance = np.abs(part - plain.color).max(2)
                boxes += [_within(distance, plain, share) for share in (WRITTEN, CAPTION)]
        inner = min((box for box in boxes if box), key=lambda box: box.area, default=None)
        if inner is None:
            break
        found = inner.moved(found.top, found.left)
    return found


class PlainColor(NamedTuple):
    """The color of a margin, (3,), and how far its pixels may be from it."""

    color: np.ndarray
    tolerance: float


def _plain_color(
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


def _within(distance: np.ndarray, plain: PlainColor, written: float) -> Box | None:
    """The part within a margin, or None.

    Args:
        distance: of the pixels from the margin's color, (H, W).
        plain: that color.
        written: the share of other colors, of a row of the picture, that a row may have.
    """
    height, width = distance.shape
    tolerance = plain.tolerance
    other = distance > tolerance
    top, bottom = _margins(other.mean(1), written)
    left, right = _margins(other.mean(0), written)
    if top + bottom >= height or left + right >= width:
        return None
    tall, wide = height - top - bottom, width - left - right
    rows = distance[:, left : width - right]
    columns = distance[top : height - bottom].T
    edges = [
        _edge(lines, size, margin, tolerance, FILLED) if margin >= max(2, len(lines) / 200) else 0
        for lines, size, margin in (
            (rows, tall, top),
            (rows[::-1], tall, bottom),
            (columns, wide, left),
            (columns[::-1], wide, right),
        )
    ]
    if sum(edge > 0 for edge in edges) < 2 and not _is_bar(plain, edges, distance):
        return None
    top, bottom, left, right = edges
    box = Box(top, height - bottom, left, width - right)
    part = other[top : box.bottom, left : box.right]
    # beside a thing on a plain ground, which reaches from side to side, most is ground
    outermost = (part[0], part[-1], part[:, 0], part[:, -1])
    if any(edge and line.mean() < FILLED for edge, line in zip(edges, outermost, strict=True)):
        return None
    return box


def _is_bar(plain: PlainColor, edges: list[int], distance: np.ndarray) -> bool:
    """Whether a margin of a single side is black or white throughout, with a straight edge."""
    top, bottom, left, right = edges
    depth = max(edges)
    lines = distance if top or bottom else distance.T
    lines = lines[::-1] if bottom or right else lines
    low, high = float(plain.color.min()), float(plain.color.max())
    return (
        0 < depth <= DEEPEST_BAR * len(lines)
        and (high <= BLACK or low >= WHITE)
        and bool((lines[: depth - 2] <= plain.tolerance).all())
        and float((lines[depth + 1] > plain.tolerance).mean()) >= CLEAN
    )


def _margins(shares: np.ndarray, written: float) -> tuple[int, int]:
    """How many rows at either end are plain, of the shares (n,) of other colors in all of them."""
    full = np.flatnonzero(shares > STRAY)
    if not len(full):
        return len(shares), 0
    rows = np.flatnonzero(shares > written * shares.max())
    return int(rows[0]), len(shares) - 1 - int(rows[-1])


def _edge(distance: np.ndarray, size: int, margin: int, tolerance: float, filled: float) -> int:
    """Where a picture begins, abruptly and nearly in a straight line; 0 if it does not.

    A few rows between are neither: a slanted scan, torn paper, ringing of JPEG in blocks.

    Args:
        distance: of the pixels from the margin's color, (n, m), with the margin's rows first.
        size: of the picture, as a number of rows.
        margin: the number of rows that are plain.
        tolerance: of the distance: more is another color.
        filled: the share of the picture's first rows that has another color.
    """
    between = _block(UNEVEN, size) + round(0.01 * size)
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


def _block(share: float, size: int) -> int:
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


class Rim(NamedTuple):
    """A thin margin of one side, `depth` pixels of a color; certain: also if it is the only one."""

    depth: int
    color: np.ndarray
    certain: bool


def _without_rims(image: np.ndarray, box: Box) -> Box:
    """A box without the rims of its sides, at most THIN of its size on each; they may be nested."""
    height, width = box.bottom - box.top, box.right - box.left
    most = [_block(THIN, size) for size in (height, height, width, width)]
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
    plain = _plain_color(lines[0], ROUGHEST, WRITTEN, RIM_TOLERANCE)
    if plain is None or most < 2:
        return None
    distance = np.abs(lines[: round(SEARCHED * len(lines))] - plain.color).max(2)
    shares = (distance > plain.tolerance).mean(1)
    margin = int(np.argmax(shares > WRITTEN))
    if not margin:
        return None
    depth = _edge(distance, len(lines), margin, plain.tolerance, FILLED)
    filled = 2 <= depth <= most
    if not filled:
        depth = _edge(distance, len(lines), margin, plain.tolerance, HALF_FILLED)
    again = (distance[depth:] <= NEAR).mean(1)
    if not 1 <= depth <= most or float(again.max(initial=0)) > HALF_FILLED:
        return None
    inside = lines[depth : depth + max(4, round(0.02 * len(lines)))].reshape(-1, 3)
    striped = _plain_color(inside, NOISIEST, WRITTEN) is not None
    narrow = depth <= max(3, round(THINNEST * len(lines)))
    return Rim(depth, plain.color, filled and narrow and not striped)


def is_flat(pixels: torch.Tensor, mask: torch.Tensor | None = None) -> bool:
    """Whether a picture is nearly one color: white, scanned paper, a few lines of ink on it.

    Args:
        pixels: (1, 3, H, W) in [0, 1].
        mask: what of it counts, (1, 1, h, w) in [0, 1] of any size; None: all.
    """
    colors = pixels[0].flatten(1)  # (3, n)
    if mask is not None:
        mask = resize(mask, *pixels.shape[2:])
        colors = colors[:, mask.flatten() >= mask.max() / 2]
    middle = colors.median(1, keepdim=True).values
    return float(((colors - middle).abs().amax(0) <= NEAR).float().mean()) >= MOSTLY
