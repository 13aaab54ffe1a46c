"""The style terms: one descriptor each, with all that the rest of the program asks about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch

from impasto.backbone.architecture import layer_stride
from impasto.config import Config
from impasto.objective.extractor import FeatureExtractor
from impasto.objective.losses import energy, gram_divisor, reduction_factor
from impasto.objective.matching import (
    Neighbors,
    Sliced,
    SlicedTarget,
    least_cover,
    nearest_target,
    sliced_target,
)
from impasto.objective.regions import StyleSource, normalized
from impasto.objective.style_distances import (
    Distance,
    Moments,
    gram_distance,
    moments_distance,
    seen_through,
    wasserstein_distance,
    with_sqrt,
)
from impasto.objective.terms import Style, Term, inside, layer_sums, layer_weights, moments_of

__all__ = [
    "LEAST",
    "STYLE_TERMS",
    "MatchingTerm",
    "MomentTerm",
    "Place",
    "StyleTerm",
]

LEAST = 1e-6  # share of a layer's positions: a mask that covers less covers none of them


class Place(NamedTuple):
    """The positions of a layer that a region covers.

    weights (1, 1, rows, columns): the region's mask at the layer, or None for all positions.
    """

    layer: str
    rows: int
    columns: int
    weights: torch.Tensor | None

    @classmethod
    def at(cls, layer: str, image: torch.Tensor, mask: torch.Tensor | None) -> Place:
        """The positions of an image (1, 3, H, W) that a mask (1, 1, H, W) covers at a layer."""
        rows, columns = (side // layer_stride(layer) for side in image.shape[2:])
        return cls(layer, rows, columns, None if mask is None else layer_weights(mask, layer))

    @property
    def empty(self) -> bool:
        """Whether the region is too small to have positions here."""
        return self.weights is not None and float(self.weights.mean()) < LEAST

    @property
    def total_weight(self) -> float:
        """The number of positions, or the sum of their weights."""
        return self.rows * self.columns if self.weights is None else float(self.weights.sum())


class StyleTerm(Protocol):
    """A style term that `Config.style_term` can name."""

    @property
    def tileable(self) -> bool:
        """Whether it is a function of sums over positions, and so exact over tiles."""

    @property
    def needs_mean(self) -> bool:
        """Whether it depends on the mean of the features, besides their second moments."""

    @property
    def in_metric(self) -> bool:
        """Whether it compares the features in their layer's metric, where there is one."""

    def working_bytes(self, layers: Sequence[float]) -> int:
        """Bytes that an evaluation takes besides the network's features.

        layers: the bytes of each style layer's features in float32. The result is in the same
        unit, for example bytes a pixel.
        """

    def targets(self, extractor: FeatureExtractor, styles: Sequence[StyleSource]) -> dict[str, Any]:
        """What the styles of a region ask for, by layer: the same for every content."""

    def term(
        self,
        extractor: FeatureExtractor,
        name: str,
        place: Place,
        target: Any,
        scale: float,
        least: float = 0.0,
    ) -> Term:
        """The term of a region at a layer, weighted by `scale`, from its target.

        least: the mean square length of features that the target's energy counts as, at least.
        """


@dataclass(frozen=True)
class MomentTerm:
    """A distance of the moments of the features from the style's (style_distances.py).

    compares_grams: whether it compares products of features, so that it grows with their fourth
    power, not their second, and takes the config's divisor of Gram matrices. prepare: computes
    once what the distance needs of a target in every evaluation.
    """

    distance: Distance
    needs_mean: bool = False
    compares_grams: bool = False
    prepare: Callable[[Moments], Moments] = lambda target: target
    tileable: ClassVar[bool] = True
    in_metric: ClassVar[bool] = True

    def working_bytes(self, layers: Sequence[float]) -> int:
        """Return 0: moments take little memory."""
        return 0

    def targets(
        self, extractor: FeatureExtractor, styles: Sequence[StyleSource]
    ) -> dict[str, Moments]:
        """The moments of the mixture of the styles, by layer."""
        measured = [self._measure(extractor, style) for style in styles]
        targets = {}
        for layer in extractor.config.style_layers:
            moments = [by_layer[layer] for by_layer in measured if layer in by_layer]
            weights = [style.weight for style in normalized(styles, layer)]
            mixture, metric = _mixture(moments, weights), extractor.metric(layer)
            seen = mixture if metric is None else seen_through(mixture, metric)
            targets[layer] = self.prepare(seen)
        return targets

    def term(
        self,
        extractor: FeatureExtractor,
        name: str,
        place: Place,
        target: Moments,
        scale: float,
        least: float = 0.0,
    ) -> Style:
        """The distance, in units of the target's energy or with the config's reduction."""
        config, channels = extractor.config, target.second.shape[1]
        if config.normalize == "energy":
            scale /= self._energy(target, least)
        else:
            degree = 4 if self.compares_grams else 2
            scale *= extractor.unit_factor**degree
            count = target.second.numel() if self.compares_grams else channels
            scale *= reduction_factor(config.style_reduction, count)
        return Style(
            name,
            place.layer,
            self.distance,
            self.needs_mean,
            target,
            self._divisors(config, channels, place),
            scale,
            place.weights,
            extractor.metric(place.layer),
        )

    def _measure(self, extractor: FeatureExtractor, style: StyleSource) -> dict[str, Moments]:
        """A style's moments at its layers, in one pass."""
        config, shard = extractor.config, extractor.shard
        places = {
            layer: _style_place(style, layer)
            for layer in config.style_layers
            if style.applies_to(layer) and style.weight > 0
        }
        if not places:
            return {}
        sums_by_tile = (
            [
                layer_sums(features[layer], tile, layer, self.needs_mean, place.weights)
                for layer, place in places.items()
            ]
            for tile, _, features in extractor.crops(style.pixels, list(places), shard)
        )
        totals = zip(places.items(), shard.all_reduce(sums_by_tile), strict=True)
        return {
            layer: moments_of(total, self.needs_mean, self._divisors(config, total.shape[1], place))
            for (layer, place), total in totals
        }

    def _divisors(self, config: Config, channels: int, place: Place) -> tuple[float, float]:
        """What the sums of the features are divided by, and those of their products."""
        if not self.compares_grams:
            return place.total_weight, place.total_weight
        covered = place.total_weight / (place.rows * place.columns)
        shape = (channels, place.rows, place.columns)
        return place.total_weight, gram_divisor(config.gram_divisor, shape) * covered

    def _energy(self, target: Moments, least: float) -> float:
        """The distance of the target from nothing at all, as if it had `least` at least."""
        length = max(float(target.second.diagonal(dim1=-2, dim2=-1).sum()), 1e-30)
        floor = max(1.0, least / length)
        if self.compares_grams:
            return float(energy(target.second)) * floor**2
        return length * floor


@dataclass(frozen=True)
class MatchingTerm:
    """A comparison of the features themselves, in float32 (matching.py).

    blend: makes the target from the features of styles, their weights and the config's seed.
    make: makes the term from its name, place, target, scale and least energy. copies: of the
    largest layer's features, alive at once. kept: copies of every layer's features, alive from one
    to the next.
    """

    blend: Callable[[Iterator[torch.Tensor], Sequence[float], int], Any]
    make: Callable[[str, Place, Any, float, float], Term]
    tileable: bool
    copies: int
    kept: int = 0
    needs_mean: ClassVar[bool] = False
    in_metric: ClassVar[bool] = False

    def working_bytes(self, layers: Sequence[float]) -> int:
        """Bytes of copies of the features, which a tape does not count."""
        return math.ceil(self.copies * max(layers, default=0.0) + self.kept * sum(layers))

    def targets(self, extractor: FeatureExtractor, styles: Sequence[StyleSource]) -> dict[str, Any]:
        """The blended features of the styles, by layer."""
        targets = {}
        for layer in extractor.config.style_layers:
            applied = normalized(styles, layer)
            features = (self._features(extractor, style, layer) for style in applied)
            weights = [style.weight for style in applied]
            targets[layer] = self.blend(features, weights, extractor.config.seed)
        return targets

    def term(
        self,
        extractor: FeatureExtractor,
        name: str,
        place: Place,
        target: Any,
        scale: float,
        least: float = 0.0,
    ) -> Term:
        """The comparison, which has no units: the config's reduction does not apply."""
        return self.make(name, place, target, scale, least)

    def _features(
        self, extractor: FeatureExtractor, style: StyleSource, layer: str
    ) -> torch.Tensor:
        """A style's features at a layer where its mask covers it; (n, C)."""
        place = _style_place(style, layer)
        parts = []
        for tile, _, features in extractor.crops(style.pixels, [layer]):
            window = tile.window(layer_stride(layer))
            x = features[layer][0, :, window.inner_rows, window.inner_columns]
            x = x.permute(1, 2, 0).flatten(0, 1)  # (C, h, w) -> (h * w, C)
            if place.weights is not None:
                covered = inside(place.weights, tile, layer).flatten()
                x = x[covered >= least_cover(place.weights)]
            parts.append(x)
        return torch.cat(parts)


def _style_place(style: StyleSource, layer: str) -> Place:
    """Where a style is taken from; all of it where its mask is too small to have a position."""
    place = Place.at(layer, style.pixels, style.mask)
    return place._replace(weights=None) if place.empty else place


def _mixture(moments: Sequence[Moments], weights: Sequence[float]) -> Moments:
    """The moments of a mixture, by weight."""
    weighted = list(zip(weights, moments, strict=True))
    second = torch.stack([weight * part.second for weight, part in weighted]).sum(0)
    means = [weight * part.mean for weight, part in weighted if part.mean is not None]
    return Moments(torch.stack(means).sum(0) if means else None, second)


def _nearest(
    name: str, place: Place, target: torch.Tensor, scale: float, least: float
) -> Neighbors:
    # cosines have no units: a flat style's are as finite as any other's
    return Neighbors(name, place.layer, target, place.total_weight, scale, place.weights)


def _sliced(name: str, place: Place, target: SlicedTarget, scale: float, least: float) -> Sliced:
    scale /= max(target.energy, least)
    return Sliced(name, place.layer, target.quantiles, target.directions, scale, place.weights)


STYLE_TERMS: dict[str, StyleTerm] = {
    "gram": MomentTerm(gram_distance, compares_grams=True),
    "wasserstein": MomentTerm(wasserstein_distance, needs_mean=True, prepare=with_sqrt),
    "moments": MomentTerm(moments_distance, needs_mean=True),
    "sliced": MatchingTerm(sliced_target, _sliced, tileable=False, copies=4, kept=3),
    "neighbors": MatchingTerm(nearest_target, _nearest, tileable=True, copies=4),
}
