"""Find the margins of a picture that are no part of it: bars, borders of paper, transparency."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from impasto.images.read import SMALLEST, resize

__all__ = ["Box", "is_flat", "opaque_box", "picture_box"]

SEEN = 1 / 255  # of opacity: less is not seen
TOLERANCE = 8 / 255  # from a margin's color, and NOISES of its own deviations more
NOISES = 4
NOISIEST = 4 / 255  # deviation of a margin: more is a texture
STRAY = 0.01  # share of a margin's row that may have another color: dust, ringing of JPEG
FILLED = 0.75  # share of a picture's first row that has another color: fewer is a drawing on paper
LEAST_SHARE = 0.01  # of the picture: less of a margin is no trouble
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
    begins in a straight line, where most pixels have another color. So a drawing on white paper
    keeps its paper, and a dark sky above a landscape is none.

    Args:
        pixels: (1, 3, H, W) in [0, 1].
    """
    image = pixels[0].permute(1, 2, 0).numpy()  # (H, W, 3)
    height, width = image.shape[:2]
    whole = Box(0, height, 0, width)
    found: Box | None = None
    for side in (image[0], image[-1], image[:, 0], image[:, -1]):
        if (plain := _plain_color(side)) is None:
            continue
        box = _within(np.abs(image - plain[0]).max(2) > plain[1])
        if box and (found is None or box.area < found.area):
            found = box
    if found is None or min(found.bottom - found.top, found.right - found.left) < SMALLEST:
        return None
    margin = 1 - found.area / whole.area
    if not LEAST_SHARE <= margin <= MOST_SHARE or is_flat(found.cut(pixels)):
        return None
    return found


def _plain_color(side: np.ndarray) -> tuple[np.ndarray, float] | None:
    """The color (3,) of a row of pixels (n, 3) and how far from it they may be; None: not plain."""
    color = np.median(side, axis=0)
    distance = np.abs(side - color)
    noise = 1.48 * float(np.median(distance, axis=0).max())
    tolerance = TOLERANCE + NOISES * noise
    if noise > NOISIEST or float((distance.max(1) > tolerance).mean()) > STRAY:
        return None
    return color, tolerance


def _within(other: np.ndarray) -> Box | None:
    """The part within a margin; `other` (H, W) is True where a pixel has not the margin's color."""
    height, width = other.shape
    top, bottom = _margins(other.mean(1))
    left, right = _margins(other.mean(0))
    if top + bottom >= height or left + right >= width:
        return None
    rows = other[:, left : width - right].mean(1)
    columns = other[top : height - bottom].mean(0)
    edges = [
        _edge(rows, top),
        _edge(rows[::-1], bottom),
        _edge(columns, left),
        _edge(columns[::-1], right),
    ]
    if sum(edge > 0 for edge in edges) < 2:
        return None
    top, bottom, left, right = edges
    return Box(top, height - bottom, left, width - right)


def _margins(shares: np.ndarray) -> tuple[int, int]:
    """How many rows at either end are plain, of the shares (n,) of other colors in all of them."""
    full = np.flatnonzero(shares > STRAY)
    return (int(full[0]), len(shares) - 1 - int(full[-1])) if len(full) else (len(shares), 0)


def _edge(shares: np.ndarray, margin: int) -> int:
    """Where the picture begins after `margin` plain rows, or 0 if not in a straight line there.

    A few rows between are neither: ringing of JPEG in blocks of 16 pixels, a slanted scan.
    """
    size = len(shares)
    if margin < max(2, size / 200):
        return 0
    between = min(16, round(0.06 * size)) + round(0.01 * size)
    for start in range(margin, margin + between + 1):
        # two rows, so that a line drawn around is not the picture's edge
        if float(shares[start : start + 2].min(initial=1)) >= FILLED:
            depth = max(4, round(0.02 * size))
            inside = float(shares[start : start + depth].mean())
            return start if inside >= FILLED else 0
    return 0


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
