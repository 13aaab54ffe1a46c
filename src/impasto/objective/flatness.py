"""The term that keeps smooth places smooth: as many pixels as in the styles differ from none.

The grain is a Gram matrix, so it asks for as much roughness as a style has, but not where: a print
with bold lines on bare paper, and fine speckle everywhere, have the same. They differ in how many
pixels hardly differ from their neighbors. As in terms.py, it is exact over tiles.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from impasto.objective.pixel_terms import add_by_differences, grain_weights, tile_differences
from impasto.objective.tiles import Tile

__all__ = ["Flatness", "FlatnessTarget", "flat_scale", "flat_sums", "opponent"]

# A difference of this share of a style's root mean square is half flat. With a smaller share more
# of the speckle counts as no difference any more, and stays: docs/defaults.md.
SHARE = 0.25
LEAST = 1.5 / 255  # of it: what rounding to 8 bits makes is flat


class FlatnessTarget(NamedTuple):
    """What is flat in the styles, for each direction and color axis.

    scale (1, 9, 1, 1): the difference that is half flat. share (1, 9) in [0, 1]: of their pixels.
    """

    scale: torch.Tensor
    share: torch.Tensor


class Flatness:
    """scale * the mean of (q(x) / q(s) - 1)^2, with q the share of the pixels that are flat.

    For each direction and color axis q is the mean of 1 / (1 + (z / t)^2), with z the differences
    of neighbors and t the target's scale: the weight of a difference in Cauchy's robust norm
    (Black & Rangarajan 1996, "On the unification of line processes, outlier rejection, and robust
    statistics"). Its gradient presses on what is nearly flat, and leaves lines alone.

    divisor: of the sums over positions. weights (1, 1, H, W): the region's mask, or None for the
    whole image.
    """

    layer = ""

    def __init__(
        self,
        name: str,
        target: FlatnessTarget,
        divisor: float,
        scale: float,
        weights: torch.Tensor | None = None,
    ):
        self.name, self.target, self.divisor = name, target, divisor
        self.scale, self.weights = scale, weights

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sums, (1, 9)."""
        return flat_sums(x, tile, self.target.scale, self.weights)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sums over all tiles."""
        return self.scale * self._excess(total).square().mean()

    def _excess(self, total: torch.Tensor) -> torch.Tensor:
        return total / self.divisor / self.target.share - 1

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x."""
        by_sums = self._excess(total) / self.target.share
        factor = -4 * self.scale / (self.divisor * by_sums.shape[1])
        z = opponent(tile_differences(x, tile))
        flat = _flat(z, self.target.scale)
        # in place: nine planes are three pictures
        by_z = z.mul_(factor * by_sums[..., None, None] / self.target.scale.square())
        by_z *= flat.square_()
        if self.weights is not None:
            by_z *= grain_weights(self.weights, tile, by_z)
        return add_by_differences(g, x, tile, opponent(by_z, transposed=True))


def flat_scale(second: torch.Tensor) -> torch.Tensor:
    """The difference that is half flat, from the styles' grain (1, 9, 9); (1, 9, 1, 1)."""
    color = _axes(second)
    blocks = second.view(1, 3, 3, 3, 3).diagonal(dim1=1, dim2=3)  # (1, 3, 3, direction)
    variances = torch.einsum("ac,bcek,ae->bka", color, blocks, color)
    deviations = variances.clamp_min(0).sqrt().flatten(1)
    return (SHARE * deviations).clamp_min(LEAST)[..., None, None]


def flat_sums(
    pixels: torch.Tensor, tile: Tile, scale: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """How many of a tile's pixels are flat, for each direction and color axis; (1, 9)."""
    flat = _flat(opponent(tile_differences(pixels, tile)), scale)
    if weights is not None:
        flat *= grain_weights(weights, tile, flat)
    return flat.sum((2, 3))


def _flat(z: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """How flat each difference is, 1 / (1 + (z / t)^2); (1, 9, h, w)."""
    squares = scale.square()
    flat = z.square().add_(squares)
    return torch.div(squares, flat, out=flat)


def opponent(d: torch.Tensor, transposed: bool = False) -> torch.Tensor:
    """Turn the colors of `differences` (1, 9, h, w) to lightness and two axes of color.

    The axes, gray, red against blue, and green against both, are orthonormal, and nearly the
    principal ones of most pictures (Ohta, Kanade & Sakai 1980). transposed: turn them back.
    """
    color = _axes(d).T if transposed else _axes(d)
    return torch.matmul(color, d.view(3, 3, -1)).view_as(d)


def _axes(like: torch.Tensor) -> torch.Tensor:
    """The axes, (3, 3), computed on the device: a CUDA graph can hold no copy from here."""
    rows = []
    for red, green, blue in ((1, 1, 1), (1, 0, -1), (1, -2, 1)):
        length = math.sqrt(red**2 + green**2 + blue**2)
        rows.append(torch.stack([like.new_full((), v / length) for v in (red, green, blue)]))
    return torch.stack(rows)
