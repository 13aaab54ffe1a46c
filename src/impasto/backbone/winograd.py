"""3 x 3 convolution by Winograd's minimal filtering F(4 x 4, 3 x 3), in float32.

Lavin & Gray 2016, "Fast algorithms for convolutional neural networks": 36 products for 16 outputs
of one channel, where the sum itself takes 144. For an input tile d (6, 6), a kernel g (3, 3) and
their output (4, 4),

    y = A^T [(G g G^T) * (B^T d B)] A.

With the tiles' values as vectors the three transforms are products with the Kronecker matrices
B^T (x) B^T (36, 36), A^T (x) A^T (16, 36) and G (x) G (36, 9), and the product of tiles by channels
is 36 products of matrices. The gradient to the input is the transposed road with the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch

from impasto.backbone.parallel import share

__all__ = ["TILE", "WinogradConvolution", "pays"]

TILE, STRIDE = 6, 4  # pixels on the side of an input tile, and of its output
INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
OUTPUT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
# Of the 36 products the one of the point (1, 1): A^T takes it to all outputs alike, as a bias is.
ALL_ALIKE = 7
# Bytes of a strip's transformed tiles, in and out: about what a core's caches hold.
STRIP = 9_400_000
CHANNELS = 16  # of a kernel, transformed at a time


def pays(inward: int, outward: int, rows: int, columns: int, *, backward: bool = False) -> bool:
    """Whether a convolution is large enough for the transforms to cost less than they save.

    Measured on two cores of a Xeon: benchmarks/convolutions.py.
    """
    tiles = -(-rows // STRIDE) * -(-columns // STRIDE)
    channels = inward * outward
    wide = tiles >= (36 if backward else 16) and channels >= 128 * 128
    return wide or (not backward and tiles >= 1024 and channels >= 64 * 64)


class WinogradConvolution:
    """A 3 x 3 convolution with fixed numbers and padding 1, on a CPU in float32.

    It keeps the transformed kernel, four times the bytes of the kernel, and computes a strip of
    rows at a time, whose transformed tiles stay in the cores' caches.
    """

    def __init__(self, kernel: torch.Tensor, bias: torch.Tensor):
        """kernel (O, I, 3, 3), bias (O,), float32."""
        self._kernel = _transformed(kernel.detach())
        self._bias = bias.detach()
        self._of_input, self._of_output = _kronecker(INPUT).float(), _kronecker(OUTPUT).float()

    def forward(self, y: torch.Tensor, *, relu: bool) -> torch.Tensor:
        """(B, I, H, W) -> (B, O, H, W), after ReLU if `relu`; both channels last."""
        shape = self._shape(y)
        height, width = STRIDE * shape.down, STRIDE * shape.across
        result = y.new_empty(len(y), height, width, len(self._bias))

        def compute(strips: Iterator[_Strip]) -> None:
            padded = y.new_zeros(STRIDE * shape.strip + 2, width + 2, shape.inward)
            work = _Buffers(y, shape)
            for strip in strips:
                rows = padded[: STRIDE * strip.down + 2]
                _fill(rows, _pixels(y)[strip.image], STRIDE * strip.first - 1, left=1)
                tiles = work.first(TILE, TILE, strip.down, shape.across, shape.inward)
                outputs = self._outputs(tiles.copy_(_overlapping(rows, shape)), work)
                blocks = result[strip.image, STRIDE * strip.first : STRIDE * strip.end]
                blocks = blocks.view(strip.down, STRIDE, shape.across, STRIDE, -1)
                if relu:
                    torch.clamp_min(outputs, 0, out=blocks)
                else:
                    blocks.copy_(outputs)

        share(shape.strips(len(y)), compute)
        inside = result[:, : y.shape[2], : y.shape[3]].permute(0, 3, 1, 2)
        return inside.contiguous(memory_format=torch.channels_last)

    def backward(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient to the input from that to the output (without ReLU), both channels last."""
        shape = self._shape(gradient)
        rows, columns = gradient.shape[2:]
        width = STRIDE * shape.across
        result = gradient.new_empty(len(gradient), rows, columns, shape.inward)
        borders = []  # rows to which two strips add

        def compute(strips: Iterator[_Strip]) -> None:
            padded = gradient.new_zeros(STRIDE * shape.strip, width, shape.outward)
            # the input's tiles begin one pixel before it and reach two beyond their own blocks
            sums = gradient.new_empty(STRIDE * (shape.strip + 1), width + STRIDE, shape.inward)
            work = _Buffers(gradient, shape)
            for strip in strips:
                part = padded[: STRIDE * strip.down]
                _fill(part, _pixels(gradient)[strip.image], STRIDE * strip.first, left=0)
                blocks = part.view(strip.down, STRIDE, shape.across, STRIDE, shape.outward)
                tiles = work.first(STRIDE, STRIDE, strip.down, shape.across, shape.outward)
                tiles.copy_(blocks.permute(1, 3, 0, 2, 4))
                _add_overlapping(sums, self._inputs(tiles, work))
                top, count = STRIDE * strip.first - 1, STRIDE * strip.down + 2
                complete = sums[:count, 1 : columns + 1]
                above = 2 if strip.first else 1  # rows that the strip above adds to, or none's
                into = result[strip.image, top + above : top + count]
                into.copy_(complete[above : above + len(into)])
                if strip.first:
                    borders.append((strip.image, top, complete[:2].clone()))

        share(shape.strips(len(gradient)), compute)
        for image, top, added in borders:
            result[image, top : top + 2] += added[: rows - top]
        return result.permute(0, 3, 1, 2)

    def _shape(self, y: torch.Tensor) -> _Shape:
        _, inward, outward = self._kernel.shape
        return _Shape(-(-y.shape[2] // STRIDE), -(-y.shape[3] // STRIDE), inward, outward)

    def _outputs(self, tiles: torch.Tensor, work: _Buffers) -> torch.Tensor:
        """Tiles (6, 6, down, across, I) of the input to blocks (down, 4, across, 4, O)."""
        *_, down, across, inward = tiles.shape
        outward, count = len(self._bias), down * across
        turned = work.second(TILE**2, count * inward)
        torch.mm(self._of_input, tiles.view(TILE**2, -1), out=turned)
        products = work.first(TILE**2, count, outward)
        torch.bmm(turned.view(TILE**2, count, inward), self._kernel, out=products)
        products[ALL_ALIKE] += self._bias
        outputs = work.second(STRIDE**2, count * outward)
        torch.mm(self._of_output, products.view(TILE**2, -1), out=outputs)
        return outputs.view(STRIDE, STRIDE, down, across, outward).permute(2, 0, 3, 1, 4)

    def _inputs(self, blocks: torch.Tensor, work: _Buffers) -> torch.Tensor:
        """Gradients (4, 4, down, across, O) to blocks, to those (down, 6, across, 6, I) to the
        input's tiles: every transform transposed, in the opposite order."""
        *_, down, across, outward = blocks.shape
        inward, count = self._kernel.shape[1], down * across
        turned = work.second(TILE**2, count * outward)
        torch.mm(self._of_output.T, blocks.view(STRIDE**2, -1), out=turned)
        products = work.first(TILE**2, count, inward)
        torch.bmm(turned.view(TILE**2, count, outward), self._kernel.mT, out=products)
        inputs = work.second(TILE**2, count * inward)
        torch.mm(self._of_input.T, products.view(TILE**2, -1), out=inputs)
        return inputs.view(TILE, TILE, down, across, inward).permute(2, 0, 3, 1, 4)


class _Strip(NamedTuple):
    """Rows of tiles of one picture: `down` of them, from the row `first` on."""

    image: int
    first: int
    down: int

    @property
    def end(self) -> int:
        return self.first + self.down


class _Shape(NamedTuple):
    """The tiles of a picture, down and across, and the channels."""

    down: int
    across: int
    inward: int
    outward: int

    @property
    def strip(self) -> int:
        """How many rows of tiles are computed at a time: about STRIP bytes, and all alike."""
        fits = STRIP // (4 * TILE**2 * (self.inward + self.outward) * self.across)
        strips = -(-self.down // max(1, fits))
        return -(-self.down // strips)

    def strips(self, images: int) -> Iterator[_Strip]:
        """All strips of so many pictures."""
        for image in range(images):
            for first in range(0, self.down, self.strip):
                yield _Strip(image, first, min(self.strip, self.down - first))


class _Buffers:
    """Two pieces of memory that the steps of a strip read and write by turns."""

    def __init__(self, like: torch.Tensor, shape: _Shape):
        tiles = shape.strip * shape.across
        self._both = like.new_empty(2, TILE**2 * tiles * max(shape.inward, shape.outward))

    def first(self, *shape: int) -> torch.Tensor:
        return self._both[0, : math.prod(shape)].view(shape)

    def second(self, *shape: int) -> torch.Tensor:
        return self._both[1, : math.prod(shape)].view(shape)


def _kronecker(matrix: tuple[tuple[float, ...], ...]) -> torch.Tensor:
    """The product of a matrix with itself, float64: it transforms rows and columns at once."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one)


def _transformed(kernel: torch.Tensor) -> torch.Tensor:
    """A kernel (O, I, 3, 3) as G g G^T, (36, I, O), float32.

    By a few channels at a time: in float64 the whole would take twice as much as what is kept.
    """
    outward, inward = kernel.shape[:2]
    found = kernel.new_empty(TILE**2, inward, outward)
    matrix = _kronecker(KERNEL)
    for first in range(0, outward, CHANNELS):
        part = kernel[first : first + CHANNELS].double().reshape(-1, 9)
        found[:, :, first : first + CHANNELS] = (matrix @ part.T).view(TILE**2, -1, inward).mT
    return found


def _pixels(y: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W), channels last, as (B, H, W, C)."""
    return y.permute(0, 2, 3, 1)


def _overlapping(rows: torch.Tensor, shape: _Shape) -> torch.Tensor:
    """View padded rows (h, w, C) as tiles (6, 6, down, across, C), which share two pixels."""
    height, width, channels = rows.shape
    row = width * channels
    return rows.as_strided(
        (TILE, TILE, (height - 2) // STRIDE, shape.across, channels),
        (row, channels, STRIDE * row, STRIDE * channels, 1),
    )


def _fill(padded: torch.Tensor, image: torch.Tensor, top: int, left: int) -> None:
    """Copy rows `top` and following of an image (H, W, C) into `padded` (h, w, C), `left` columns
    in, with zeros where there are none. The columns beside the image are zero already."""
    begin, end = max(top, 0), min(top + len(padded), len(image))
    padded[: begin - top] = 0
    padded[begin - top : end - top, left : left + image.shape[1]] = image[begin:end]
    padded[end - top :] = 0


def _add_overlapping(into: torch.Tensor, tiles: torch.Tensor) -> None:
    """Set rows of pixels (H, W, C) to the sum of tiles (down, 6, across, 6, C), one every four
    pixels.

    In four parts that do not overlap: of 6 pixels 4 lie in a tile's own block and 2 in the next.
    """
    down, _, across, _, channels = tiles.shape
    into[STRIDE * down :] = 0
    into[:, STRIDE * across :] = 0
    for row in (0, 1):
        rows = into[STRIDE * row : STRIDE * (row + down)]
        blocks = rows.view(down, STRIDE, -1, STRIDE, channels)
        tile_rows = slice(STRIDE * row, STRIDE + 2 * row)
        for column in (0, 1):
            tile_columns = slice(STRIDE * column, STRIDE + 2 * column)
            part = tiles[:, tile_rows, :, tile_columns]
            high, wide = part.shape[1], part.shape[3]
            place = blocks[:, :high, column : column + across, :wide]
            if row or column:
                place.add_(part)
            else:
                place.copy_(part)
