"""Split an image into tiles with halos as wide as the receptive field, so that tiling is exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import torch

from impasto.backbone.architecture import STRIDE, reach

__all__ = ["UNSHARDED", "Shard", "Sums", "Tile", "Window", "cut", "sum_tiles"]


class Window(NamedTuple):
    """A tile's positions in a map of the image, and where they lie in the map of the tile's crop.

    rows, columns: in the map of the whole image. inner_rows, inner_columns: in that of the crop.
    whole: whether the crop is the whole image.
    """

    rows: slice
    columns: slice
    inner_rows: slice
    inner_columns: slice
    whole: bool


class Tile(NamedTuple):
    """Rows top:bottom and columns left:right of an image of height x width.

    crop: the tile with its halo, as rows and columns of the image. It starts at a multiple of 16,
    so that the network's poolings fall as they do in the whole image, and ends at one or with the
    image.
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
        """Whether this tile is the whole image."""
        return (self.bottom - self.top, self.right - self.left) == (self.height, self.width)

    def window(self, stride: int = 1) -> Window:
        """This tile in a map with one position every `stride` pixels.

        A position belongs to the tile that holds its first pixel, so that the tiles of an image
        partition every map.
        """
        slices = []
        ends = ((self.top, self.bottom, self.height), (self.left, self.right, self.width))
        for (start, end, size), crop in zip(ends, self.crop, strict=True):
            last = size // stride
            first, stop = (min(math.ceil(side / stride), last) for side in (start, end))
            offset = crop.start // stride
            slices.append((slice(first, stop), slice(first - offset, stop - offset)))
        (rows, inner_rows), (columns, inner_columns) = slices
        return Window(rows, columns, inner_rows, inner_columns, self.whole)


Sums = list[torch.Tensor]  # one tensor for each term


class Shard(NamedTuple):
    """The tiles of worker `first` of `step` (round robin).

    all_reduce: takes the sums over each of these tiles and returns those over the tiles of all
    workers; every worker must call it equally often.
    """

    first: int
    step: int
    all_reduce: Callable[[Iterable[Sums]], Sums]

    def select(self, tiles: list[Tile]) -> list[Tile]:
        """Those of `tiles` that are this worker's."""
        return tiles[self.first :: self.step]


def sum_tiles(sums_by_tile: Iterable[Sums]) -> Sums:
    """The sums over all tiles, from those over each.

    They are added in the tiles' order, which decides the last bits.
    """
    return reduce(
        lambda total, sums: [a + b for a, b in zip(total, sums, strict=True)], sums_by_tile
    )


UNSHARDED = Shard(0, 1, sum_tiles)


def cut(
    height: int, width: int, tile_size: int, layers: Iterable[str], min_halo: int = 0
) -> list[Tile]:
    """Split an image of height x width into tiles of about one size.

    Args:
        height, width: of the image, in pixels.
        tile_size: the most pixels of a tile's side, without its halo.
        layers: the network's layers whose features are to be exact.
        min_halo: pixels that a halo has at least, for terms that look at the pixels themselves.
    """
    halo = max(reach(layers), min_halo)
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
        for top, bottom in _intervals(height, tile_size)
        for left, right in _intervals(width, tile_size)
    ]


def _intervals(size: int, tile_size: int) -> list[tuple[int, int]]:
    """0 to `size` in as few intervals as possible, of about one length."""
    count = math.ceil(size / tile_size)
    ends = [round(size * k / count) for k in range(count + 1)]
    return list(pairwise(ends))


def _crop(start: int, end: int, size: int, halo: int) -> slice:
    return slice(
        max(0, (start - halo) // STRIDE * STRIDE),
        min(size, math.ceil((end + halo) / STRIDE) * STRIDE),
    )
