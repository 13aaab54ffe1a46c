"""The terms that need no network: grain, total variation, edges. As in terms.py, each is exact over
tiles."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from impasto.objective.losses import differences, products, roughness, squared_distance
from impasto.objective.tiles import Tile

__all__ = [
    "EDGE_REACH",
    "Edges",
    "Grain",
    "Variation",
    "grain_products",
    "laplacian",
    "tile_roughness",
]

EDGE_POOL = 4  # pixels
EDGE_REACH = 2 * EDGE_POOL  # pixels beyond a tile that the Laplacian of its last position sees


class Grain:
    """scale * |G - A|^2 with G the Gram matrix of the pixels' differences; target A (B, 6, 6): the
    styles'."""

    layer = ""

    def __init__(
        self,
        name: str,
        target: torch.Tensor,
        divisor: float,
        scale: float,
        weights: torch.Tensor | None = None,
    ):
        """weights (1, 1, H, W): of the region."""
        self.name, self.target, self.divisor, self.scale, self.weights = (
            name,
            target,
            divisor,
            scale,
            weights,
        )

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return grain_products(x, tile, self.weights)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * squared_distance(total / self.divisor, self.target)

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile."""
        by = 4 * self.scale / self.divisor * (total / self.divisor - self.target)
        d = tile_differences(x, tile)
        more = (by @ d.flatten(2)).view_as(d)
        if self.weights is not None:
            more *= grain_weights(self.weights, tile, d)
        across, down = more.chunk(2, 1)
        g = torch.zeros_like(x) if g is None else g
        inner = g[(..., *_more(tile, 1, 1))]
        inner[..., :-1, 1:] += across
        inner[..., 1:, :-1] += down
        inner[..., :-1, :-1] -= across
        inner[..., :-1, :-1] -= down
        return g


class Variation:
    """factors . (sum over neighbours across, sum over neighbours down) of squared or absolute
    differences."""

    name, layer = "tv", ""

    def __init__(self, form: str, factors: tuple[float, float]):
        self.form, self.factors = form, factors

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return tile_roughness(x, tile, self.form)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.factors[0] * total[0] + self.factors[1] * total[1]

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile."""
        across, down = (
            factor * (2 * each if self.form == "squared" else each.sign())
            for factor, each in zip(self.factors, _neighbours(x, tile), strict=True)
        )
        g = torch.zeros_like(x) if g is None else g
        inner = g[(..., *_more(tile, 0, 1))]
        inner[..., :, 1:] += across
        inner[..., :, :-1] -= across
        inner = g[(..., *_more(tile, 1, 0))]
        inner[..., 1:, :] += down
        inner[..., :-1, :] -= down
        return g


class Edges:
    """scale * |L(x) - L(c)|^2 with L the Laplacian of the picture at a quarter of its size (Li, Xu,
    Nie & Liu 2017, "Laplacian-steered neural style transfer", eq. 3 and 6). target: the content's,
    (1, 3, H / 4 - 2, W / 4 - 2).
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
        """g plus the gradient of the term to x, from this tile."""
        back = F.conv_transpose2d(self._difference(x, tile).transpose(0, 1), _kernel(x)).transpose(
            0, 1
        )
        small = F.interpolate(
            back * (2 * self.scale / EDGE_POOL**2), scale_factor=EDGE_POOL, mode="nearest"
        )
        g = torch.zeros_like(x) if g is None else g
        g[..., : small.shape[2], : small.shape[3]] += small
        return g

    def _difference(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """L(x) - L(c) on the crop's own grid, 0 where a position is not the tile's; (1, 3, h,
        w)."""
        found = laplacian(x)
        window = tile.window(EDGE_POOL)
        result = torch.zeros_like(found)
        # a position of L is the middle of three, so it lies one further than its row and column
        parts = []
        for rows, inner, most in (
            (window.rows, window.inner_rows, self.target.shape[2]),
            (window.columns, window.inner_columns, self.target.shape[3]),
        ):
            start, stop = max(rows.start, 1), min(rows.stop, most + 1)
            shift = inner.start - rows.start
            stop = max(start, stop)
            parts.append((slice(start - 1, stop - 1), slice(start + shift - 1, stop + shift - 1)))
        (rows, inner_rows), (columns, inner_columns) = parts
        result[..., inner_rows, inner_columns] = (
            found[..., inner_rows, inner_columns] - self.target[..., rows, columns]
        )
        return result


def laplacian(pixels: torch.Tensor) -> torch.Tensor:
    """Discrete Laplacian of pixels averaged over 4 x 4, inside; (1, 3, H, W) -> (1, 3, H / 4 - 2, W
    / 4 - 2)."""
    small = F.avg_pool2d(pixels, EDGE_POOL)
    return F.conv2d(small.transpose(0, 1), _kernel(pixels)).transpose(0, 1)


def _kernel(like: torch.Tensor) -> torch.Tensor:
    return torch.tensor([[[[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]]]).to(like)


def grain_products(
    pixels: torch.Tensor, tile: Tile, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Products of the differences of neighbouring pixels over the tile, weighted by pixel; (B, 6,
    6)."""
    d = tile_differences(pixels, tile)
    return products(d if weights is None else d * grain_weights(weights, tile, d).sqrt())


def grain_weights(weights: torch.Tensor, tile: Tile, d: torch.Tensor) -> torch.Tensor:
    """The weights of the tile's pixels that have both neighbours."""
    return weights[:, :, tile.top : tile.top + d.shape[2], tile.left : tile.left + d.shape[3]]


def tile_differences(pixels: torch.Tensor, tile: Tile) -> torch.Tensor:
    """Differences of the pixels of the tile's crop, for those whose first pixel is the tile's."""
    return differences(pixels[(..., *_more(tile, 1, 1))])


def tile_roughness(pixels: torch.Tensor, tile: Tile, form: str) -> torch.Tensor:
    """Roughness of the pixels of the tile's crop, for those neighbours whose first pixel is the
    tile's; (2,)."""
    return roughness(*_neighbours(pixels, tile), form)


def _neighbours(x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
    beside, below = x[(..., *_more(tile, 0, 1))], x[(..., *_more(tile, 1, 0))]
    return beside[..., :, 1:] - beside[..., :, :-1], below[..., 1:, :] - below[..., :-1, :]


def _more(tile: Tile, rows: int, columns: int) -> tuple[slice, slice]:
    """The tile's pixels in its crop with `rows` and `columns` more at the end, where the picture
    has them."""
    window = tile.window()
    down, right = (
        slice(part.start, min(part.stop + more, size - crop.start))
        for part, more, size, crop in zip(
            (window.inner_rows, window.inner_columns),
            (rows, columns),
            (tile.height, tile.width),
            tile.crop,
            strict=True,
        )
    )
    return down, right
