"""A picture cut into tiles, each with a halo as wide as the network sees: what no tile can get
wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import torch

from impasto.backbone.vgg import STRIDE, reach

__all__ = ["UNSHARDED", "Share", "Sums", "Tile", "Window", "added", "cut"]


class Window(NamedTuple):
    """Rows and columns of a map, and where they lie in the tile's crop of it; `whole`: the crop is
    the whole map."""

    rows: slice
    columns: slice
    inner_rows: slice
    inner_columns: slice
    whole: bool


class Tile(NamedTuple):
    """Rows top:bottom and columns left:right of a picture of height x width, and the crop that
    shows them rightly.

    The crop is the tile with its halo. It starts at a multiple of 16, so that the network's
    poolings fall as they do in the whole picture, and ends at one or with the picture.
    """

    top: int
    bottom: int
    left: int
    right: int
    crop: tuple[slice, slice]
    height: int
    width: int

    @property
    def whole(self) -> bool:
        """Whether this tile is the whole picture."""
        return (self.bottom - self.top, self.right - self.left) == (self.height, self.width)

    def window(self, stride: int = 1) -> Window:
        """This tile in a map with one position every `stride` pixels.

        A position belongs to the tile that holds its first pixel: the tiles of a picture share out
        every map exactly.
        """
        parts = []
        ends = ((self.top, self.bottom, self.height), (self.left, self.right, self.width))
        for (start, end, size), crop in zip(ends, self.crop, strict=True):
            last = size // stride
            first, stop = (min(math.ceil(side / stride), last) for side in (start, end))
            parts.append(
                (
                    slice(first, stop),
                    slice(first - crop.start // stride, stop - crop.start // stride),
                )
            )
        (rows, inner_rows), (columns, inner_columns) = parts
        return Window(rows, columns, inner_rows, inner_columns, self.whole)


Sums = list[torch.Tensor]


class Share(NamedTuple):
    """Every `step`-th tile from `first` on, where others have the rest of every picture.

    all_reduce: takes the sums over each of these tiles and gives those over all; everyone calls it
    equally often.
    """

    first: int
    step: int
    all_reduce: Callable[[Iterable[Sums]], Sums]

    def of(self, tiles: list[Tile]) -> list[Tile]:
        """Those of `tiles` that are meant."""
        return tiles[self.first :: self.step]


def added(parts: Iterable[Sums]) -> Sums:
    """The sums over all tiles from those over each, which are added in the tiles' order: it decides
    the last bits."""
    return reduce(lambda total, part: [a + b for a, b in zip(total, part, strict=True)], parts)


UNSHARDED = Share(0, 1, added)


def cut(height: int, width: int, side: int, layers: Iterable[str], least: int = 0) -> list[Tile]:
    """Tiles of about one size, at most side x side without their halos, for features of `layers`.

    least: pixels of a halo at least, for what looks at the pixels themselves.
    """
    halo = max(reach(layers), least)
    return [
        Tile(
            top,
            bottom,
            left,
            right,
            (_crop(top, bottom, height, halo), _crop(left, right, width, halo)),
            height,
            width,
        )
        for top, bottom in _parts(height, side)
        for left, right in _parts(width, side)
    ]


def _parts(size: int, side: int) -> list[tuple[int, int]]:
    count = math.ceil(size / side)
    ends = [round(size * k / count) for k in range(count + 1)]
    return list(pairwise(ends))


def _crop(start: int, end: int, size: int, halo: int) -> slice:
    return slice(
        max(0, (start - halo) // STRIDE * STRIDE),
        min(size, math.ceil((end + halo) / STRIDE) * STRIDE),
    )
