"""The terms that need no network: grain, total variation, edges, and time in a film.

As in terms.py, each is exact over tiles.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from impasto.objective.losses import difference_sums, differences, second_moment_sum
from impasto.objective.style_distances import Solved, grain_distance, grain_target
from impasto.objective.tiles import Tile

__all__ = [
    "EDGE_REACH",
    "Edges",
    "Grain",
    "Reference",
    "Temporal",
    "Variation",
    "add_by_differences",
    "grain_sums",
    "laplacian",
    "tile_difference_sums",
]

EDGE_POOL = 4  # pixels
EDGE_REACH = 2 * EDGE_POOL  # pixels beyond a tile that the Laplacian of its last position sees


class Grain:
    """scale * the distance of the painting's grain from the styles' (`grain_distance`).

    A grain is the Gram matrix of the pixels' differences. target (1, 9, 9): the styles'. divisor:
    of the sums over positions. weights (1, 1, H, W): the region's mask, or None for the whole
    image.
    """

    layer = ""

    def __init__(
        self,
        name: str,
        target: torch.Tensor,
        divisor: float,
        scale: float,
        weights: torch.Tensor | None = None,
    ):
        self.name, self.divisor, self.scale, self.weights = name, divisor, scale, weights
        self.target = grain_target(target)
        self._last: tuple[torch.Tensor, Solved] | None = None

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return grain_sums(x, tile, self.weights)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * self._solved(total)[0]

    def _solved(self, total: torch.Tensor) -> Solved:
        """The distance and its gradient; computed once for all tiles of an evaluation."""
        if self._last is None or self._last[0] is not total:
            self._last = total, grain_distance(total / self.divisor, self.target)
        return self._last[1]

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x."""
        by_sums = 2 * self.scale / self.divisor * self._solved(total)[2]
        d = tile_differences(x, tile)
        more = (by_sums @ d.flatten(2)).view_as(d)
        if self.weights is not None:
            more *= grain_weights(self.weights, tile, d)
        return add_by_differences(g, x, tile, more)


class Variation:
    """Total variation: the sums of differences across and down, each times its factor.

    form: "squared" or "absolute" differences.
    """

    name, layer = "tv", ""

    def __init__(self, form: str, factors: tuple[float, float]):
        self.form, self.factors = form, factors

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return tile_difference_sums(x, tile, self.form)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.factors[0] * total[0] + self.factors[1] * total[1]

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x."""
        across, down = (
            factor * (2 * difference if self.form == "squared" else difference.sign())
            for factor, difference in zip(self.factors, _differences(x, tile), strict=True)
        )
        g = torch.zeros_like(x) if g is None else g
        inner = g[(..., *_extended(tile, 0, 1))]
        inner[..., :, 1:] += across
        inner[..., :, :-1] -= across
        inner = g[(..., *_extended(tile, 1, 0))]
        inner[..., 1:, :] += down
        inner[..., :-1, :] -= down
        return g


class Edges:
    """scale * |L(x) - L(c)|^2 with L the Laplacian of the image at a quarter of its size.

    Li, Xu, Nie & Liu 2017, "Laplacian-steered neural style transfer", eq. 3 and 6.

    target (1, 3, H / 4 - 2, W / 4 - 2): L(c), the content's.
    """

    name, layer = "edges", ""

    def __init__(self, target: torch.Tensor, scale: float):
        self.target, self.scale = target, scale

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return self._difference(x, tile).square().sum()

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * total

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x."""
        planes = self._difference(x, tile).transpose(0, 1)  # (3, 1, h, w)
        by_pooled = F.conv_transpose2d(planes, _kernel(x)).transpose(0, 1)  # (1, 3, h + 2, w + 2)
        by_pixels = F.interpolate(
            by_pooled * (2 * self.scale / EDGE_POOL**2), scale_factor=EDGE_POOL, mode="nearest"
        )
        g = torch.zeros_like(x) if g is None else g
        g[..., : by_pixels.shape[2], : by_pixels.shape[3]] += by_pixels
        return g

    def _difference(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """L(x) - L(c) on the crop's own grid, (1, 3, h, w); 0 at positions of other tiles."""
        edges = laplacian(x)
        window = tile.window(EDGE_POOL)
        result = torch.zeros_like(edges)
        # a position of L is the middle of three, so it lies one further than its row and column
        slices = []
        for rows, inner, most in (
            (window.rows, window.inner_rows, self.target.shape[2]),
            (window.columns, window.inner_columns, self.target.shape[3]),
        ):
            start, stop = max(rows.start, 1), min(rows.stop, most + 1)
            shift = inner.start - rows.start
            stop = max(start, stop)
            slices.append((slice(start - 1, stop - 1), slice(start + shift - 1, stop + shift - 1)))
        (rows, inner_rows), (columns, inner_columns) = slices
        result[..., inner_rows, inner_columns] = (
            edges[..., inner_rows, inner_columns] - self.target[..., rows, columns]
        )
        return result


class Reference(NamedTuple):
    """What a frame of a film is held to: the earlier painting, carried here by the flow.

    pixels: (1, 3, H, W). known (1, 1, H, W) in [0, 1]: where the flow can be trusted. weight: of
    the temporal term.
    """

    pixels: torch.Tensor
    known: torch.Tensor
    weight: float

    def to(self, like: torch.Tensor) -> Reference:
        """This on another tensor's device."""
        return self._replace(pixels=self.pixels.to(like), known=self.known.to(like))


class Temporal:
    """weight * sum c (x - W)^2 / sum c, with W the earlier painting and c where it is known.

    Ruder, Dosovitskiy & Brox 2018, "Artistic style transfer for videos and spherical images",
    eq. 7, but divided by the known pixels instead of all of them.
    """

    name, layer = "temporal", ""

    def __init__(self, reference: Reference):
        self.reference = reference
        self.factor = reference.weight / max(1.0, float(reference.known.sum()))

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        known, difference, _ = self._at(x, tile)
        return (known * difference.square()).sum()

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.factor * total

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x."""
        known, difference, inner = self._at(x, tile)
        g = torch.zeros_like(x) if g is None else g
        g[inner] += 2 * self.factor * known * difference
        return g

    def _at(self, x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor, Any]:
        """c and x - W at the tile's pixels, and where these are in the crop x."""
        window = tile.window()
        here = (..., window.rows, window.columns)
        inner = (..., window.inner_rows, window.inner_columns)
        return self.reference.known[here], x[inner] - self.reference.pixels[here], inner


def laplacian(pixels: torch.Tensor) -> torch.Tensor:
    """Discrete Laplacian of pixels averaged over 4 x 4; (1, 3, H, W) -> (1, 3, H/4 - 2, W/4 - 2).

    Without padding: it has no positions on the border.
    """
    pooled = F.avg_pool2d(pixels, EDGE_POOL)  # (1, 3, H/4, W/4)
    return F.conv2d(pooled.transpose(0, 1), _kernel(pixels)).transpose(0, 1)


def _kernel(like: torch.Tensor) -> torch.Tensor:
    return _kernel_on(like.device, like.dtype)


@cache
def _kernel_on(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """The kernel, copied to a device once: a CUDA graph can hold no copy from here."""
    kernel = torch.tensor([[[[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]]])
    return kernel.to(device, dtype)


def grain_sums(
    pixels: torch.Tensor, tile: Tile, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Sums over a tile of the products of differences of neighboring pixels; (1, 9, 9).

    pixels: of the tile's crop. weights (1, 1, H, W): of the image's pixels.
    """
    d = tile_differences(pixels, tile)
    return second_moment_sum(d if weights is None else d * grain_weights(weights, tile, d).sqrt())


def grain_weights(weights: torch.Tensor, tile: Tile, d: torch.Tensor) -> torch.Tensor:
    """The weights of the tile's pixels that have both neighbors."""
    return weights[:, :, tile.top : tile.top + d.shape[2], tile.left : tile.left + d.shape[3]]


def tile_differences(pixels: torch.Tensor, tile: Tile) -> torch.Tensor:
    """`differences` at the tile's pixels, from the pixels of its crop; (1, 9, h, w)."""
    return differences(pixels[(..., *_extended(tile, 1, 1))])


def tile_difference_sums(
    pixels: torch.Tensor, tile: Tile, form: str, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """`difference_sums` at the tile's pixels, from the pixels of its crop; (2,).

    weights (1, 1, H, W): of the image's pixels.
    """
    across, down = _differences(pixels, tile)
    if weights is not None:
        factors = weights.sqrt() if form == "squared" else weights
        across = across * grain_weights(factors, tile, across)
        down = down * grain_weights(factors, tile, down)
    return difference_sums(across, down, form)


def add_by_differences(
    g: torch.Tensor | None, x: torch.Tensor, tile: Tile, by_differences: torch.Tensor
) -> torch.Tensor:
    """Add the gradient to the pixels x from that to `tile_differences(x, tile)`; None is 0."""
    across, down, twice = by_differences.chunk(3, 1)
    g = torch.zeros_like(x) if g is None else g
    inner = g[(..., *_extended(tile, 1, 1))]
    inner[..., :-1, 1:] += across - twice
    inner[..., 1:, :-1] += down - twice
    inner[..., :-1, :-1] += twice - across - down
    inner[..., 1:, 1:] += twice
    return g


def _differences(x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences of neighbors across and down whose first pixel is the tile's."""
    beside, below = x[(..., *_extended(tile, 0, 1))], x[(..., *_extended(tile, 1, 0))]
    return beside[..., :, 1:] - beside[..., :, :-1], below[..., 1:, :] - below[..., :-1, :]


def _extended(tile: Tile, rows: int, columns: int) -> tuple[slice, slice]:
    """The tile's pixels in its crop, with `rows` and `columns` more where the image has them."""
    window = tile.window()
    down, right = (
        slice(inner.start, min(inner.stop + more, size - crop.start))
        for inner, more, size, crop in zip(
            (window.inner_rows, window.inner_columns),
            (rows, columns),
            (tile.height, tile.width),
            tile.crop,
            strict=True,
        )
    )
    return down, right
