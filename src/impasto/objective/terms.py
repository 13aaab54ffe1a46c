"""The terms of the objective: what each sums up over an image, its value, and its gradient.

Every term is a function of a sum over positions (a Gram matrix, a squared distance, differences of
neighbors), so it is exact over tiles: `measure` sums over one tile, `value` takes the sum over all
tiles, and `add_gradient`, which needs that sum too, returns one tile's part of the gradient. The
formulas are in losses.py and style_distances.py; gradients are written out. The terms of the pixels
are in pixel_terms.py, those that compare the features themselves in matching.py.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F

from impasto.backbone.architecture import layer_stride
from impasto.objective.losses import (
    position_sum,
    row_blocks,
    second_moment_sum,
    squared_distance,
)
from impasto.objective.style_distances import Distance, Moments, Solved, pulled_back, seen_through
from impasto.objective.tiles import Tile

__all__ = [
    "Content",
    "Style",
    "Term",
    "in_metric",
    "inside",
    "layer_sums",
    "layer_weights",
    "moments_of",
]


class Term(Protocol):
    """One weighted term.

    name: as it is shown. layer: whose features it takes, or "" for the pixels themselves.
    """

    name: str
    layer: str

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum; x (B, C, h, w): features or pixels of the tile's crop."""

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term, (), from the sum over all tiles."""

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient of the term to x.

        Args:
            g: the gradient of other terms, of the shape of x, which is added to in its own memory;
                None for zero.
            x: as for `measure`.
            tile: the tile.
            total: the sum over all tiles.
        """


class Content:
    """scale * sum of w |F(x) - F(c)|^2, with F(c) the content's features.

    target (1, C, H, W): F(c), of the whole image. weights (1, 1, H, W): w, or None for 1
    everywhere. metric (C, C): R in |R (F(x) - F(c))|^2, or None for plain features.
    """

    def __init__(
        self,
        name: str,
        layer: str,
        target: torch.Tensor,
        scale: float,
        weights: torch.Tensor | None = None,
        metric: torch.Tensor | None = None,
    ):
        self.name, self.layer = name, layer
        self.target, self.scale, self.weights, self.metric = target, scale, weights, metric
        self._squared = None if metric is None else metric.mT @ metric  # R^T R, for the gradient

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        here, target = self._both(x, tile)
        if self.weights is None and self.metric is None:
            return squared_distance(here, target)
        difference = here.float() - target.float()
        if self.metric is not None:
            difference = in_metric(difference, self.metric)
        squares = difference.square()
        return (
            squares if self.weights is None else squares * inside(self.weights, tile, self.layer)
        ).sum()

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * total

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x."""
        window = tile.window(layer_stride(self.layer))
        here, target = self._both(x, tile)
        g = torch.zeros_like(x) if g is None else g
        difference = here - target
        if self._squared is not None:
            difference = in_metric(difference, self._squared)
        if self.weights is not None:
            difference *= inside(self.weights, tile, self.layer).to(difference)
        g[:, :, window.inner_rows, window.inner_columns].add_(difference, alpha=2 * self.scale)
        return g

    def _both(self, x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
        """The features and the target at the tile's positions, (1, C, h, w) both."""
        window = tile.window(layer_stride(self.layer))
        return (
            x[:, :, window.inner_rows, window.inner_columns],
            self.target[:, :, window.rows, window.columns],
        )


def in_metric(features: torch.Tensor, metric: torch.Tensor) -> torch.Tensor:
    """Multiply the features (B, C, H, W) at every position by a matrix (C', C)."""
    return F.conv2d(features, metric.to(features)[:, :, None, None])


class Style:
    """scale * a distance (style_distances.py) of the features' moments from the style's.

    Moments are sums over positions, weighted by the region's mask if there is one, divided by the
    positions' number (the sum of weights): a small region is as strong as a large one (Gatys et al.
    2017, eq. 5).

    distance: of moments. needs_mean: whether it depends on the mean. target: the style's moments.
    divisors: of the sums of the features, and of their products. weights (1, 1, H, W): the region's
    mask at the layer, or None for the whole image. metric (C, C): what features are multiplied by
    before they are compared (the target's already are), or None.
    """

    def __init__(
        self,
        name: str,
        layer: str,
        distance: Distance,
        needs_mean: bool,
        target: Moments,
        divisors: tuple[float, float],
        scale: float,
        weights: torch.Tensor | None = None,
        metric: torch.Tensor | None = None,
    ):
        self.name, self.layer = name, layer
        self.target, self.scale, self.weights, self.metric = target, scale, weights, metric
        self._distance, self._needs_mean, self._divisors = distance, needs_mean, divisors
        self._last: tuple[torch.Tensor, Solved] | None = None

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sums, as `layer_sums` returns them."""
        return layer_sums(x, tile, self.layer, self._needs_mean, self.weights)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sums over all tiles."""
        return self.scale * self._solved(total)[0]

    def _solved(self, total: torch.Tensor) -> Solved:
        """The distance and its gradients; computed once for all tiles of an evaluation."""
        if self._last is None or self._last[0] is not total:
            moments = moments_of(total, self._needs_mean, self._divisors)
            if self.metric is None:
                self._last = total, self._distance(moments, self.target)
            else:
                solved = self._distance(seen_through(moments, self.metric), self.target)
                self._last = total, pulled_back(solved, self.metric)
        return self._last[1]

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x."""
        _, by_mean, by_second = self._solved(total)
        # (B, C, C), symmetric
        matrix = (2 * self.scale / self._divisors[1] * by_second).to(x.dtype)
        constant = None  # (B, C)
        if by_mean is not None:
            constant = (self.scale / self._divisors[0] * by_mean).to(x.dtype)
        window = tile.window(layer_stride(self.layer))
        g = torch.zeros_like(x) if g is None else g
        for k in range(len(x)):
            inner = (k, slice(None), window.inner_rows, window.inner_columns)
            # (C, h, w) -> (h, w, C), channels last in memory
            part, f = (y[inner].permute(1, 2, 0) for y in (g, x))
            if window.whole and self.weights is None and part.is_contiguous():
                flat = part.view(-1, len(matrix[k]))  # (h*w, C)
                torch.addmm(flat, f.reshape(flat.shape), matrix[k], out=flat)  # in g's own memory
                if constant is not None:
                    flat += constant[k]
                continue
            if part.device.type == "cuda" and self.weights is None:
                part.baddbmm_(f, matrix[k].expand(len(f), -1, -1))  # row by row, in g's memory
                if constant is not None:
                    part += constant[k]
                continue
            weights = None
            if self.weights is not None:
                weights = inside(self.weights, tile, self.layer)[0, 0, :, :, None]
            _add_products(part, f, matrix[k], None if constant is None else constant[k], weights)
        return g


def _add_products(
    into: torch.Tensor,
    f: torch.Tensor,
    matrix: torch.Tensor,
    constant: torch.Tensor | None,
    weights: torch.Tensor | None,
) -> None:
    """Add (f @ matrix + constant) * weights to `into`, by blocks of rows, for the memory's sake.

    into, f: (h, w, C). matrix: (C, C). constant: (C,), or None. weights: (h, w, 1), or None.
    """
    parts, blocks = row_blocks(into), row_blocks(f)
    of_parts = [None] * len(parts) if weights is None else row_blocks(weights)
    for part, seen, weight in zip(parts, blocks, of_parts, strict=True):
        more = seen @ matrix
        if constant is not None:
            more += constant
        if weight is not None:
            more *= weight.to(more)
        part += more


def layer_weights(mask: torch.Tensor, layer: str) -> torch.Tensor:
    """A mask of pixels at a layer's positions; (1, 1, H, W) -> (1, 1, H / stride, W / stride).

    Halved by averaging, as often as the network halves: averages of masks that add to 1 add to 1,
    which maxima would not.
    """
    for _ in range(layer_stride(layer).bit_length() - 1):
        mask = F.avg_pool2d(mask, 2)
    return mask


def inside(weights: torch.Tensor, tile: Tile, layer: str) -> torch.Tensor:
    """The weights of a layer's positions that are the tile's; (1, 1, H, W) -> (1, 1, h, w)."""
    window = tile.window(layer_stride(layer))
    return weights[:, :, window.rows, window.columns]


def layer_sums(
    features: torch.Tensor,
    tile: Tile,
    layer: str,
    needs_mean: bool = False,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Sums of the products of features over a tile's positions, weighted by position.

    Args:
        features: of the tile's crop at `layer`, (B, C, h, w).
        tile: the tile.
        layer: the layer.
        needs_mean: whether to append the sums of the features as one more column.
        weights: of the layer's positions, (1, 1, H, W); None: 1 everywhere.

    Returns:
        (B, C, C), or with `needs_mean` (B, C, C + 1).
    """
    window = tile.window(layer_stride(layer))
    x = features[:, :, window.inner_rows, window.inner_columns]
    if weights is not None:
        root = inside(weights, tile, layer).sqrt()
        scaled = x * root.to(x)
        products = second_moment_sum(scaled)
        sums = (scaled.to(products) * root).sum((2, 3)) if needs_mean else None
    else:
        products = second_moment_sum(x)
        sums = position_sum(x) if needs_mean else None
    return products if sums is None else torch.cat([products, sums[..., None].to(products)], 2)


def moments_of(total: torch.Tensor, needs_mean: bool, divisors: tuple[float, float]) -> Moments:
    """Moments from the sums that `layer_sums` returns over all tiles.

    divisors: of the sums of the features, and of their products.
    """
    if not needs_mean:
        return Moments(None, total / divisors[1])
    return Moments(total[..., -1] / divisors[0], total[..., :-1] / divisors[1])
