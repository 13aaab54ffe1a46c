"""The terms of the objective: what each sums up over a picture, its value, and its gradient.

Every term is a function of a sum over positions (a Gram matrix, a squared distance, a roughness),
so it is exact over tiles: `measure` adds up what lies in one tile, `value` takes the sum over all,
and `add_gradient`, which needs that sum too, gives one tile its part of the gradient of the whole.
The formulas are in losses.py and statistics.py; gradients are written out. The terms of the pixels
are in pixel_terms.py.
"""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F

from impasto.backbone.vgg import layer_stride
from impasto.objective.losses import products, squared_distance
from impasto.objective.moments import DISTANCES, NEEDS_MEAN, Moments, Solved
from impasto.objective.tiles import Tile

__all__ = [
    "Content",
    "Style",
    "Term",
    "inside",
    "layer_sums",
    "layer_weights",
    "moments_of",
]


class Term(Protocol):
    """One weighted term. name: as it is shown; layer: whose features it takes, or "" for the pixels
    themselves."""

    name: str
    layer: str

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum; x (B, C, h, w): features or pixels of the tile's crop."""

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term, (), from the sum over all tiles."""

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """g (its memory may be used; None: zero) plus the gradient of the term to x, as far as it
        comes from `tile`."""


class Content:
    """scale * sum of w |F(x) - F(c)|^2. target (B, C, H, W): the content's features, whole; w: None
    is 1 everywhere."""

    def __init__(
        self,
        name: str,
        layer: str,
        target: torch.Tensor,
        scale: float,
        weights: torch.Tensor | None = None,
    ):
        """weights (1, 1, H, W): how much each position counts."""
        self.name, self.layer, self.target, self.scale, self.weights = (
            name,
            layer,
            target,
            scale,
            weights,
        )

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        here, target = self._both(x, tile)
        if self.weights is None:
            return squared_distance(here, target)
        weights = inside(self.weights, tile, self.layer)
        return ((here.float() - target.float()).square() * weights).sum()

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * total

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile."""
        window = tile.window(layer_stride(self.layer))
        here, target = self._both(x, tile)
        g = torch.zeros_like(x) if g is None else g
        difference = here - target
        if self.weights is not None:
            difference *= inside(self.weights, tile, self.layer).to(difference)
        g[:, :, window.inner_rows, window.inner_columns].add_(difference, alpha=2 * self.scale)
        return g

    def _both(self, x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
        window = tile.window(layer_stride(self.layer))
        return (
            x[:, :, window.inner_rows, window.inner_columns],
            self.target[:, :, window.rows, window.columns],
        )


class Style:
    """scale * a distance (statistics.py) of the features' moments from the style's.

    Moments are sums over positions, weighted by the region's mask if there is one, divided by the
    positions' number (the sum of weights): a small region is as strong as a large one (Gatys et al.
    2017, eq. 5).
    """

    def __init__(
        self,
        name: str,
        layer: str,
        term: str,
        target: Moments,
        divisors: tuple[float, float],
        scale: float,
        weights: torch.Tensor | None = None,
    ):
        """divisors: of the sums of the features, and of their products. weights (1, 1, H, W): of
        the region."""
        self.name, self.layer, self.target, self.scale, self.weights = (
            name,
            layer,
            target,
            scale,
            weights,
        )
        self._distance, self._mean = DISTANCES[term], term in NEEDS_MEAN
        self._divisors = divisors
        self._last: tuple[torch.Tensor, Solved] | None = None

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sums: products (B, C, C), and sums as one more column where they
        are needed."""
        return layer_sums(x, tile, self.layer, self._mean, self.weights)

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sums over all tiles."""
        return self.scale * self._solved(total)[0]

    def _solved(self, total: torch.Tensor) -> Solved:
        """Value and gradients; solved once for all tiles of an evaluation."""
        if self._last is None or self._last[0] is not total:
            self._last = (
                total,
                self._distance(moments_of(total, self._mean, self._divisors), self.target),
            )
        return self._last[1]

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile."""
        _, by_mean, by_second = self._solved(total)
        by = (2 * self.scale / self._divisors[1] * by_second).to(x.dtype)  # (B, C, C), symmetric
        # (B, C)
        constant = (
            None if by_mean is None else (self.scale / self._divisors[0] * by_mean).to(x.dtype)
        )
        window = tile.window(layer_stride(self.layer))
        g = torch.zeros_like(x) if g is None else g
        for each in range(len(x)):
            inner = (each, slice(None), window.inner_rows, window.inner_columns)
            # (h, w, C), channels last in memory
            part, f = (y[inner].permute(1, 2, 0) for y in (g, x))
            if window.whole and self.weights is None:
                flat = part.view(-1, len(by[each]))
                torch.addmm(flat, f.reshape(flat.shape), by[each], out=flat)  # in g's own memory
                if constant is not None:
                    flat += constant[each]
                continue
            more = f @ by[each]
            if constant is not None:
                more += constant[each]
            if self.weights is not None:
                more *= inside(self.weights, tile, self.layer)[0, 0, :, :, None].to(more)
            part += more
        return g


def layer_weights(mask: torch.Tensor, layer: str) -> torch.Tensor:
    """A mask of pixels (1, 1, H, W) at a layer's positions: halved as often, as the network halves,
    by averaging.

    Averages of masks that add to 1 add to 1, which maxima would not: every position is shared out
    exactly.
    """
    for _ in range(layer_stride(layer).bit_length() - 1):
        mask = F.avg_pool2d(mask, 2)
    return mask


def inside(weights: torch.Tensor, tile: Tile, layer: str) -> torch.Tensor:
    """The weights of a layer's positions that are the tile's."""
    window = tile.window(layer_stride(layer))
    return weights[:, :, window.rows, window.columns]


def layer_sums(
    features: torch.Tensor,
    tile: Tile,
    layer: str,
    mean: bool = False,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Products of the features of the tile's crop at `layer`, over the tile alone, (B, C, C);
    weighted by position.

    mean: with the features' sums as one more column, (B, C, C + 1).
    """
    window = tile.window(layer_stride(layer))
    x = features[:, :, window.inner_rows, window.inner_columns]
    if weights is not None:
        root = inside(weights, tile, layer).sqrt()
        scaled = x * root.to(x)
        found = products(scaled)
        sums = (scaled.float() * root).sum((2, 3)) if mean else None
    else:
        found = products(x)
        sums = x.sum((2, 3), dtype=torch.float32) if mean else None
    return found if sums is None else torch.cat([found, sums[..., None].to(found)], 2)


def moments_of(total: torch.Tensor, mean: bool, divisors: tuple[float, float]) -> Moments:
    """Moments from `layer_sums`."""
    if not mean:
        return Moments(None, total / divisors[1])
    return Moments(total[..., -1] / divisors[0], total[..., :-1] / divisors[1])
