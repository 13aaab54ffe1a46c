"""Style as a set of features to be matched, which moments do not tell: nearest neighbours, and
sliced Wasserstein."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from impasto.backbone.vgg import layer_stride
from impasto.objective.terms import inside
from impasto.objective.tiles import Tile

__all__ = ["Neighbours", "Sliced", "sample", "sliced_distance"]

SAMPLES = 2048  # of a style's positions, at most, that are looked at as neighbours
QUANTILES = 1024  # of a projection of the style's features
BLOCK = 1 << 24  # similarities at once
COVERED = 0.5  # of a position that a mask must cover for it to be the region's


class Neighbours:
    """scale * mean over positions, by weight, of 1 - the greatest cosine of the features there with
    any of the style's: nearest-neighbour feature matching (Kolkin et al. 2022, eq. 1, one layer at
    a time).

    style (N, C): some of the style's features. Exact over tiles: positions are independent.
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
        """count: the painting's positions, or the sum of weights (1, 1, H, W)."""
        self.name, self.layer, self.weights, self.scale = name, layer, weights, scale / count
        self._style = _unit(style.float()).to(style.dtype)
        # between `measure` and `add_gradient` of one evaluation
        self._which: dict[tuple[int, int], torch.Tensor] = {}

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The tile's part of the sum."""
        f, weights = self._features(x, tile)
        unit = _unit(f)
        self._which[tile.top, tile.left] = self._nearest(unit)
        return ((1 - self._cosines(unit, tile)) * weights).sum()

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the sum over all tiles."""
        return self.scale * total

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """g plus the gradient of the term to x, from this tile; which neighbour is the nearest
        counts as fixed."""
        f, weights = self._features(x, tile)
        unit = _unit(f)
        best, nearest = (
            self._cosines(unit, tile),
            self._style[self._which[tile.top, tile.left]].float(),
        )
        back = (unit * best[:, None] - nearest) / f.norm(dim=1, keepdim=True).clamp_min(1e-6)
        return _added(g, x, tile, self.layer, back * (self.scale * weights)[:, None])

    def _features(self, x: torch.Tensor, tile: Tile) -> tuple[torch.Tensor, torch.Tensor]:
        """The tile's features (n, C) float32 and their weights (n,)."""
        f = _flat(x, tile, self.layer)
        if self.weights is None:
            return f, f.new_ones(len(f))
        return f, inside(self.weights, tile, self.layer).flatten()

    def _nearest(self, unit: torch.Tensor) -> torch.Tensor:
        """Which of the style's features is the most alike, for each position, (n,)."""
        rows = max(1, BLOCK // len(self._style))
        return torch.cat(
            [(part.to(self._style) @ self._style.T).argmax(1) for part in torch.split(unit, rows)]
        )

    def _cosines(self, unit: torch.Tensor, tile: Tile) -> torch.Tensor:
        """How alike the nearest is, (n,), in float32."""
        return (unit * self._style[self._which[tile.top, tile.left]].float()).sum(1)


class Sliced:
    """scale * sliced_distance of the features from the style's (Heitz et al. 2021). Needs the whole
    picture at once.

    style: quantiles (QUANTILES, K) of the style's features along K directions (C, K).
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
        """weights (1, 1, H, W): positions that they cover by half, or else the most covered, are
        the region's."""
        self.name, self.layer, self.scale = name, layer, scale
        self._style, self._directions = style, directions
        self._last: tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]] | None = None
        self._chosen = (
            None if weights is None else (weights.flatten() >= least_cover(weights)).nonzero()[:, 0]
        )

    def measure(self, x: torch.Tensor, tile: Tile) -> torch.Tensor:
        """The region's features along the directions, (n, K): of a whole picture, as sorting takes
        it."""
        f = _flat(x, tile, self.layer)
        return (f if self._chosen is None else f[self._chosen]) @ self._directions

    def value(self, total: torch.Tensor) -> torch.Tensor:
        """The weighted term from the projections."""
        return self.scale * self._solved(total)[0]

    def _solved(self, total: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Value and gradient; sorted once an evaluation."""
        if self._last is None or self._last[0] is not total:
            self._last = total, sliced_distance(total, self._style)
        return self._last[1]

    def add_gradient(
        self, g: torch.Tensor | None, x: torch.Tensor, tile: Tile, total: torch.Tensor
    ) -> torch.Tensor:
        """g plus the gradient of the term to x; the order of the projections counts as fixed."""
        back = self.scale * self._solved(total)[1] @ self._directions.T
        if self._chosen is not None:
            whole = back.new_zeros(_flat(x, tile, self.layer).shape)
            back = whole.index_copy(0, self._chosen, back)
        return _added(g, x, tile, self.layer, back)


def sliced_distance(
    projections: torch.Tensor, style: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over directions of the mean squared distance of sorted projections (n, K) from the
    style's quantiles (Q, K)
    at the same ranks: value, (), and gradient (n, K). Heitz et al. 2021, eq. 4; quantiles, as sizes
    differ.
    """
    count = len(projections)
    at = (torch.arange(count, device=projections.device) + 0.5) / count * len(style) - 0.5
    low = at.floor().clamp(0, len(style) - 1).long()
    high = (low + 1).clamp_max(len(style) - 1)
    part = (at - low).clamp(0, 1)[:, None]
    wanted = style[low] * (1 - part) + style[high] * part
    ordered, order = projections.sort(0)
    difference = ordered - wanted
    gradient = torch.zeros_like(projections).scatter_(0, order, 2 * difference / count)
    return difference.square().sum() / count, gradient


def quantiles(features: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """QUANTILES of features (n, C) along directions (C, K): (QUANTILES, K)."""
    ordered = (features.float() @ directions).sort(0).values
    at = (torch.arange(QUANTILES, device=features.device) + 0.5) / QUANTILES * len(ordered) - 0.5
    low = at.floor().clamp(0, len(ordered) - 1).long()
    high = (low + 1).clamp_max(len(ordered) - 1)
    part = (at - low).clamp(0, 1)[:, None]
    return ordered[low] * (1 - part) + ordered[high] * part


def least_cover(weights: torch.Tensor) -> float:
    """How much of a position a mask must cover for it to count: half, or the most that it covers
    anywhere."""
    return min(COVERED, float(weights.max()))


def directions_for(channels: int, seed: int) -> torch.Tensor:
    """As many random directions as there are channels, (C, K) of length 1 (Heitz et al. 2021,
    section 3.2)."""
    found = torch.randn(channels, channels, generator=torch.Generator().manual_seed(seed))
    return F.normalize(found, dim=0)


def sample(features: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """At most `count` of features (n, C), drawn once and for all by the seed."""
    if len(features) <= count:
        return features
    chosen = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:count]
    return features[chosen.to(features.device)]


def _unit(features: torch.Tensor) -> torch.Tensor:
    return F.normalize(features, dim=1, eps=1e-6)


def _flat(x: torch.Tensor, tile: Tile, layer: str) -> torch.Tensor:
    """The tile's features as (n, C) float32."""
    window = tile.window(layer_stride(layer))
    return x[0, :, window.inner_rows, window.inner_columns].permute(1, 2, 0).flatten(0, 1).float()


def _added(
    g: torch.Tensor | None, x: torch.Tensor, tile: Tile, layer: str, back: torch.Tensor
) -> torch.Tensor:
    """g plus `back` (n, C) at the tile's positions."""
    window = tile.window(layer_stride(layer))
    g = torch.zeros_like(x) if g is None else g
    part = g[0, :, window.inner_rows, window.inner_columns].permute(1, 2, 0)
    part += back.view(part.shape).to(g)
    return g
