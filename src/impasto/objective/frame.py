"""Continue pictures beyond their border for the network, so that it sees all of them and no edge.

Convolutions pad with zeros, which features near the border take for an edge: a rim of another color
is painted there. Poolings drop the last row and column of an odd size, up to 15 pixels at stage 5.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from impasto.backbone.architecture import STRIDE
from impasto.backbone.vgg import Backbone
from impasto.objective.tiles import Tile

__all__ = ["MARGIN", "Frame", "frame_of"]

MARGIN = 8  # pixels at least on each side; zeros beyond them reach stages 1 and 2 no more


class Frame(NamedTuple):
    """The pixels on each side by which the network sees pictures of one size continued.

    Only the network sees them: terms, masks and tiles know positions within the picture. top and
    left are multiples of 16, so that positions of all layers stay where they are.
    """

    top: int
    bottom: int
    left: int
    right: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of a picture of height x width with its frame."""
        return height + self.top + self.bottom, width + self.left + self.right

    def add(self, pixels: torch.Tensor) -> torch.Tensor:
        """Frame pictures: (B, C, H, W) to (B, C, top + H + bottom, left + W + right).

        They are reflected at their edges, so that the outermost pixels are repeated: seen once,
        where their neighbors are seen twice, they would be the ones to show odd colors.
        """
        if not any(self):
            return pixels
        by_rows = _continued(pixels, 2, self.top, self.bottom)
        return _continued(by_rows, 3, self.left, self.right)

    def fold(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient to the pictures, (B, C, H, W), from that to the framed ones.

        It is the adjoint of `add`: what came to a reflected pixel belongs to the pixel that it is
        a copy of.
        """
        if not any(self):
            return gradient
        by_rows = _folded(gradient, 2, self.top, self.bottom)
        return _folded(by_rows, 3, self.left, self.right)

    def crop(self, tile: Tile) -> tuple[slice, slice]:
        """Return the rows and columns of a tile's crop in the framed picture.

        Where the crop ends with the picture, the frame belongs to it.
        """
        ends = ((self.top, self.bottom, tile.height), (self.left, self.right, tile.width))
        rows, columns = (
            slice(
                part.start + before if part.start else 0,
                part.stop + before + (after if part.stop == size else 0),
            )
            for part, (before, after, size) in zip(tile.crop, ends, strict=True)
        )
        return rows, columns

    def inner(self, tile: Tile, stride: int = 1) -> tuple[slice, slice]:
        """Return where the map of a tile's crop lies in that of its framed crop.

        stride: pixels from one position of the maps to the next.
        """
        rows, columns = (
            slice(start := (0 if part.start else before) // stride, start + length // stride)
            for part, before, length in (
                (part, before, part.stop - part.start)
                for part, before in zip(tile.crop, (self.top, self.left), strict=True)
            )
        )
        return rows, columns


def _continued(x: torch.Tensor, dim: int, before: int, after: int) -> torch.Tensor:
    """Add reflections before the first and after the last position along `dim`."""
    first, last = x.narrow(dim, 0, before), x.narrow(dim, x.shape[dim] - after, after)
    return torch.cat([first.flip(dim), x, last.flip(dim)], dim)


def _folded(g: torch.Tensor, dim: int, before: int, after: int) -> torch.Tensor:
    """Add the first and the last positions along `dim` to those that they are reflections of."""
    size = g.shape[dim] - before - after
    result = g.narrow(dim, before, size).clone(memory_format=torch.contiguous_format)
    # the first position beyond either end is a copy of the first within it, and so on
    result.narrow(dim, 0, before).add_(g.narrow(dim, 0, before).flip(dim))
    beyond = g.narrow(dim, before + size, after).flip(dim)
    result.narrow(dim, size - after, after).add_(beyond)
    return result


def frame_of(height: int, width: int, backbone: Backbone) -> Frame:
    """Choose the frame of pictures of one size.

    With zeros as padding, as in the published recipes, there is none. Otherwise both sides become
    multiples of 16, with a margin on all sides where the picture is at least 32 x 32; so the frame
    is never wider than the picture, as a reflection has to be.

    Args:
        height, width: of the pictures, 16 or more.
        backbone: the network that looks at them.
    """
    if backbone.padding == "zeros":
        return Frame(0, 0, 0, 0)
    before, least = (STRIDE, MARGIN) if min(height, width) >= 2 * STRIDE else (0, 0)
    bottom, right = (least + -(side + least) % STRIDE for side in (height, width))
    return Frame(before, bottom, before, right)
