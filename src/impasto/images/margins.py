"""Find the margins of a picture that are no part of it: bars, borders of paper, transparency."""

from __future__ import annotations

import numpy as np
import torch

from impasto.images.edges import (
    CLEAN,
    FILLED,
    NEAR,
    WRITTEN,
    Box,
    PlainColor,
    edge_of,
    plain_color,
)
from impasto.images.read import SMALLEST, resize
from impasto.images.rims import without_rims

__all__ = ["Box", "is_flat", "opaque_box", "picture_box"]

SEEN = 1 / 255  # of opacity: less is not seen
ROUGH_PAPER = 10 / 255  # deviation of a margin on two sides or more
STRAY = 0.01  # share of a margin's row that may have another color: dust, ringing of JPEG
CAPTION = 0.3  # share of a row of letters, of a row of the picture
NESTED = 3  # margins within each other
BLACK, WHITE = 4 / 255, 251 / 255  # of a bar that is alone
DEEPEST_BAR = 0.3  # of the picture's size
RINGING = 16, 40 / 255  # of JPEG beside a bar's edge: pixels, and how far colors may be off
SAMPLED = 50_000  # colors, at least, of which the median is taken: a million take 50 ms
LEAST_SHARE = 0.01  # of the picture: less of a margin is at most a rim
MOST_SHARE = 15 / 16  # of the picture: what is plain but for so little is meant to be so
MOSTLY = 0.9  # share of a flat picture's pixels that are so near


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
    box = without_rims(image, box)
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
            if (plain := plain_color(side, ROUGH_PAPER, WRITTEN)) is not None:
                distance = np.abs(part - plain.color).max(2)
                boxes += [_within(distance, plain, share) for share in (WRITTEN, CAPTION)]
        inner = min((box for box in boxes if box), key=lambda box: box.area, default=None)
        if inner is None:
            break
        found = inner.moved(found.top, found.left)
    return found


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
        edge_of(lines, size, margin, tolerance, FILLED) if margin >= max(2, len(lines) / 200) else 0
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
    top, bottom, _, right = edges
    depth = max(edges)
    lines = distance if top or bottom else distance.T
    lines = lines[::-1] if bottom or right else lines
    near, off = RINGING
    clean = max(2, depth - 2 - near)
    low, high = float(plain.color.min()), float(plain.color.max())
    return (
        0 < depth <= DEEPEST_BAR * len(lines)
        and (high <= BLACK or low >= WHITE)
        and bool((lines[:clean] <= plain.tolerance).all())
        and bool((lines[clean : depth - 2] <= off).all())
        and float((lines[depth + 1] > plain.tolerance).mean()) >= CLEAN
    )


def _margins(shares: np.ndarray, written: float) -> tuple[int, int]:
    """How many rows at either end are plain, of the shares (n,) of other colors in all of them."""
    full = np.flatnonzero(shares > STRAY)
    if not len(full):
        return len(shares), 0
    rows = np.flatnonzero(shares > written * shares.max())
    return int(rows[0]), len(shares) - 1 - int(rows[-1])


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
    some = colors[:, :: max(1, colors.shape[1] // SAMPLED)]
    middle = some.median(1, keepdim=True).values
    return float(((colors - middle).abs().amax(0) <= NEAR).float().mean()) >= MOSTLY
