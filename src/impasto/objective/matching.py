"""Style as a set of features to be matched: nearest neighbors, and sliced Wasserstein.

Both look at more of the features than their moments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from impasto.backbone.architecture import layer_stride
from impasto.objective.terms import inside
from impasto.objective.tiles import Tile

__all__ = [
    "Neighbors",
    "Sliced",
    "SlicedTarget",
    "least_cover",
    "nearest_target",
    "quantiles",
    "random_directions",
    "sample",
    "sliced_distance",
    "sliced_target",
]

SAMPLES = 2048  # the most positions of a style that are compared with
QUANTILES = 1024  # of a projection of the style's features
BLOCK = 1 << 24  # similarities computed at once
COVERED = 0.5  # of a position that a mask must cover for it to be the region's
TINY = 1e-6  # the least length of a feature vector that is divided by


class Neighbors:
    """scale * weighted mean over positions of 1 - the greatest cosine with any style feature.

    Nearest-neighbor feature matching (Kolkin et al. 2022, eq. 1, one layer at a time). Exact over
    tiles, as positions are independent.

    style (N, C): some of the style's features. count: the image's positions, or the sum of weights.
    weights (1, 1, H, W): the region's mask at the layer, or None for the whole image.
    """

    def __init__(
        self,
        name: str,
        layer: str,
        style: torch.Tensor,
        count: float,
        scale: float,
        weights: torch.Tensor | None = None,
    ):
        self.name, self.layer, self.weights, self.scale = name, layer, weights, scale / count
        self._style = _unit(style.float()).to(style.dtype)
        # by tile, between `measure` and `add_gradient` of one evaluation
        self._nearest: dict[tuple[int, int], torch.Tensor] = {}

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        f, weights = self._features(x, tile)
        unit = _unit(f)
        self._nearest[tile.top, tile.left] = self._find_nearest(unit)
        return ((1 - self._cosines(unit, tile)) * weights).sum()

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * total

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the tile's part of the gradient to x; the choice of neighbors counts as fixed."""
        f, weights = self._features(x, tile)
        unit = _unit(f)
        cosines = self._cosines(unit, tile)
        nearest = self._style[self._nearest[tile.top, tile.left]].float()
        gradient = (unit * cosines[:, None] - nearest) / f.norm(dim=1, keepdim=True).clamp_min(TINY)
        return _add_at_positions(g, x, tile, self.layer, gradient * (self.scale * weights)[:, None])

    def _features(self, x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
        """The tile's features (n, C) float32 and their weights (n,)."""
        f = _flat(x, tile, self.layer)
        if self.weights is None:
            return f, f.new_ones(len(f))
        return f, inside(self.weights, tile, self.layer).flatten()

    def _find_nearest(self, unit: torch.Tensor) -> torch.Tensor:
        """The index of the most similar style feature of each position; (n, C) -> (n,)."""
        rows = max(1, BLOCK // len(self._style))
        return torch.cat(
            [(part.to(self._style) @ self._style.T).argmax(1) for part in torch.split(unit, rows)]
        )

    def _cosines(self, unit: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The similarity to the nearest style feature; (n, C) -> (n,) float32."""
        return (unit * self._style[self._nearest[tile.top, tile.left]].float()).sum(1)


class Sliced:
    """scale * `sliced_distance` of the features from the style's (Heitz et al. 2021).

    Not exact over tiles: it sorts all positions, so it needs the whole image at once.

    style: quantiles (QUANTILES, K) of the style's features along K directions (C, K). weights
    (1, 1, H, W): the region's mask at the layer; positions that it covers by half, or else those
    that it covers most, are the region's.
    """

    def __init__(
        self,
        name: str,
        layer: str,
        style: torch.Tensor,
        directions: torch.Tensor,
        scale: float,
        weights: torch.Tensor | None = None,
    ):
        self.name, self.layer, self.scale = name, layer, scale
        self._style, self._directions = style, directions
        self._last: tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]] | None = None
        self._chosen = (
            None if weights is None else (weights.flatten() >= least_cover(weights)).nonzero()[:, 0]
        )

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """Projections of the region's features on the directions, (n, K), of the whole image."""
        f = _flat(x, tile, self.layer)
        return (f if self._chosen is None else f[self._chosen]) @ self._directions

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the projections."""
        return self.scale * self._solved(total)[0]

    def _solved(self, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The distance and its gradient; sorted once an evaluation."""
        if self._last is None or self._last[0] is not total:
            self._last = total, sliced_distance(total, self._style)
        return self._last[1]

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """Add the gradient to x; the order of the projections counts as fixed."""
        gradient = self.scale * self._solved(total)[1] @ self._directions.T  # (n, C)
        if self._chosen is not None:
            everywhere = gradient.new_zeros(_flat(x, tile, self.layer).shape)
            gradient = everywhere.index_copy(0, self._chosen, gradient)
        return _add_at_positions(g, x, tile, self.layer, gradient)


class SlicedTarget(NamedTuple):
    """What `Sliced` compares with: quantiles (QUANTILES, K) along directions (C, K)."""

    quantiles: torch.Tensor
    directions: torch.Tensor

    @property
    def energy(self) -> float:
        """The mean square of the projections, summed over directions; never 0."""
        return max(float(self.quantiles.square().mean(0).sum()), 1e-30)


def sliced_distance(
    projections: torch.Tensor, style: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sliced Wasserstein distance (Heitz et al. 2021, eq. 4), and its gradient.

    Summed over directions: the mean squared distance of sorted projections from the style's
    quantiles at the same ranks. Quantiles, because the numbers of positions differ.

    Args:
        projections: (n, K).
        style: quantiles (Q, K).

    Returns:
        The distance, (), and its gradient to the projections, (n, K).
    """
    count = len(projections)
    ordered, order = projections.sort(0)
    difference = ordered - _at_ranks(style, count)
    gradient = torch.zeros_like(projections).scatter_(0, order, 2 * difference / count)
    return difference.square().sum() / count, gradient


def quantiles(features: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """QUANTILES of features (n, C) along directions (C, K): (QUANTILES, K)."""
    return _at_ranks((features.float() @ directions).sort(0).values, QUANTILES)


def _at_ranks(ordered: torch.Tensor, count: int) -> torch.Tensor:
    """Sorted values at `count` evenly spaced ranks, linearly interpolated; (n, K) -> (count, K)."""
    at = (torch.arange(count, device=ordered.device) + 0.5) / count * len(ordered) - 0.5
    low = at.floor().clamp(0, len(ordered) - 1).long()
    high = (low + 1).clamp_max(len(ordered) - 1)
    part = (at - low).clamp(0, 1)[:, None]
    return ordered[low] * (1 - part) + ordered[high] * part


def sliced_target(
    features: Iterable[torch.Tensor], weights: Sequence[float], seed: int
) -> SlicedTarget:
    """The target of `Sliced`, blended from the features (n, C) of styles by weight."""
    blended, directions = None, None
    for weight, f in zip(weights, features, strict=True):
        if directions is None:
            directions = random_directions(f.shape[1], seed).to(f.device)
        part = weight * quantiles(f, directions)
        blended = part if blended is None else blended + part
    assert blended is not None
    assert directions is not None
    return SlicedTarget(blended, directions)


def nearest_target(
    features: Iterable[torch.Tensor], weights: Sequence[float], seed: int
) -> torch.Tensor:
    """The target of `Neighbors`: samples of the features (n, C) of styles, as many by weight."""
    counts = [round(SAMPLES * weight) or 1 for weight in weights]
    return torch.cat([sample(f, count, seed) for count, f in zip(counts, features, strict=True)])


def least_cover(weights: torch.Tensor) -> float:
    """How much of a position a mask must cover for it to count.

    Half, or the most that it covers anywhere.
    """
    return min(COVERED, float(weights.max()))


def random_directions(channels: int, seed: int) -> torch.Tensor:
    """As many random directions as there are channels, (C, K), of length 1.

    Heitz et al. 2021, section 3.2.
    """
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(channels, channels, generator=generator), dim=0)


def sample(features: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """At most `count` of features (n, C), chosen by the seed."""
    if len(features) <= count:
        return features
    chosen = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:count]
    return features[chosen.to(features.device)]


def _unit(features: torch.Tensor) -> torch.Tensor:
    return F.normalize(features, dim=1, eps=TINY)


def _flat(x: torch.Tensor, tile: Tile, layer: str) -> torch.Tensor:
    """The features of the tile's positions; (1, C, h, w) -> (n, C) float32."""
    window = tile.window(layer_stride(layer))
    return x[0, :, window.inner_rows, window.inner_columns].permute(1, 2, 0).flatten(0, 1).float()


def _add_at_positions(
    g: torch.Tensor | None, x: torch.Tensor, tile: Tile, layer: str, gradient: torch.Tensor
) -> torch.Tensor:
    """Add a gradient (n, C) of the tile's positions to g, of the shape of x."""
    window = tile.window(layer_stride(layer))
    g = torch.zeros_like(x) if g is None else g
    part = g[0, :, window.inner_rows, window.inner_columns].permute(1, 2, 0)
    part += gradient.view(part.shape).to(g)
    return g
