"""The terms of the objective: what each sums up over a picture, its value, and its gradient.

Every term is a function of a sum over positions (a Gram matrix, a squared distance, a roughness), so it is exact over
tiles: `measure` adds up what lies in one tile, `value` takes the sum over all, and `add_gradient`, which needs that sum
too, gives one tile its part of the gradient of the whole. The formulas are in losses.py; gradients are written out.
"""

from __future__ import annotations

from typing import Protocol

import torch

from impasto.backbone import layer_stride
from impasto.objective.losses import differences, products, roughness, squared_distance
from impasto.objective.tiles import Tile

__all__ = [
    "Content",
    "Grain",
    "Style",
    "Term",
    "Variation",
    "layer_products",
    "tile_differences",
    "tile_roughness",
]


class Term(Protocol):
    """One weighted term. name: as it is shown; layer: whose features it takes, or "" for the pixels themselves."""

    name: str
    layer: str

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum; x (B, C, h, w): features or pixels of the tile's crop."""

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term, (), from the sum over all tiles."""

    def add_gradient(self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor) -> torch.Tensor:
        """g (its memory may be used; None: zero) plus the gradient of the term to x, as far as it comes from `tile`."""


class Content:
    """scale * |F(x) - F(c)|^2. target (B, C, H, W): the content's features, whole."""

    def __init__(self, name: str, layer: str, target: torch.Tensor, scale: float):
        self.name, self.layer, self.target, self.scale = name, layer, target, scale

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return squared_distance(*self._both(x, tile))

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * total

    def add_gradient(self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile."""
        region = tile.region(layer_stride(self.layer))
        here, target = self._both(x, tile)
        g = torch.zeros_like(x) if g is None else g
        g[:, :, region.inner_rows, region.inner_columns].add_(here - target, alpha=2 * self.scale)
        return g

    def _both(self, x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
        region = tile.region(layer_stride(self.layer))
        return (
            x[:, :, region.inner_rows, region.inner_columns],
            self.target[:, :, region.rows, region.columns],
        )


class Style:
    """scale * |P / divisor - A|^2 with P the products of the features; target A (B, C, C): the style's Gram matrix."""

    def __init__(self, name: str, layer: str, target: torch.Tensor, divisor: float, scale: float):
        self.name, self.layer, self.target, self.divisor, self.scale = name, layer, target, divisor, scale

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return layer_products(x, tile, self.layer)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * squared_distance(total / self.divisor, self.target)

    def add_gradient(self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile."""
        by = (4 * self.scale / self.divisor * (total / self.divisor - self.target)).to(x.dtype)  # (B, C, C), symmetric
        region = tile.region(layer_stride(self.layer))
        g = torch.zeros_like(x) if g is None else g
        for each in range(len(x)):
            inner = (each, slice(None), region.inner_rows, region.inner_columns)
            part, f = (y[inner].permute(1, 2, 0) for y in (g, x))  # (h, w, C), channels last in memory
            if region.whole:
                flat = part.view(-1, len(by[each]))
                torch.addmm(flat, f.reshape(flat.shape), by[each], out=flat)  # in g's own memory
            else:
                part += f @ by[each]
        return g


class Grain:
    """scale * |G - A|^2 with G the Gram matrix of the pixels' differences; target A (B, 6, 6): the styles'."""

    name, layer = "grain", ""

    def __init__(self, target: torch.Tensor, divisor: float, scale: float):
        self.target, self.divisor, self.scale = target, divisor, scale

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return products(tile_differences(x, tile))

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * squared_distance(total / self.divisor, self.target)

    def add_gradient(self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile."""
        by = 4 * self.scale / self.divisor * (total / self.divisor - self.target)
        d = tile_differences(x, tile)
        across, down = (by @ d.flatten(2)).view_as(d).chunk(2, 1)
        g = torch.zeros_like(x) if g is None else g
        inner = g[(..., *_more(tile, 1, 1))]
        inner[..., :-1, 1:] += across
        inner[..., 1:, :-1] += down
        inner[..., :-1, :-1] -= across
        inner[..., :-1, :-1] -= down
        return g


class Variation:
    """factors . (sum over neighbours across, sum over neighbours down) of squared or absolute differences."""

    name, layer = "tv", ""

    def __init__(self, form: str, factors: tuple[float, float]):
        self.form, self.factors = form, factors

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        return tile_roughness(x, tile, self.form)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.factors[0] * total[0] + self.factors[1] * total[1]

    def add_gradient(self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor) -> torch.Tensor:
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


def layer_products(features: torch.Tensor, tile: Tile, layer: str) -> torch.Tensor:
    """Products of the features of the tile's crop at `layer`, over the tile alone; (B, C, C)."""
    region = tile.region(layer_stride(layer))
    return products(features[:, :, region.inner_rows, region.inner_columns])


def tile_differences(pixels: torch.Tensor, tile: Tile) -> torch.Tensor:
    """Differences of the pixels of the tile's crop, for those whose first pixel is the tile's."""
    return differences(pixels[(..., *_more(tile, 1, 1))])


def tile_roughness(pixels: torch.Tensor, tile: Tile, form: str) -> torch.Tensor:
    """Roughness of the pixels of the tile's crop, for those neighbours whose first pixel is the tile's; (2,)."""
    return roughness(*_neighbours(pixels, tile), form)


def _neighbours(x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
    beside, below = x[(..., *_more(tile, 0, 1))], x[(..., *_more(tile, 1, 0))]
    return beside[..., :, 1:] - beside[..., :, :-1], below[..., 1:, :] - below[..., :-1, :]


def _more(tile: Tile, rows: int, columns: int) -> tuple[slice, slice]:
    """The tile's pixels in its crop with `rows` and `columns` more at the end, where the picture has them."""
    region = tile.region()
    down, right = (
        slice(part.start, min(part.stop + more, size - crop.start))
        for part, more, size, crop in zip(
            (region.inner_rows, region.inner_columns),
            (rows, columns),
            (tile.height, tile.width),
            tile.crop,
            strict=True,
        )
    )
    return down, right
