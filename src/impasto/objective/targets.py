"""The terms of an objective, from the config and the pictures: targets, units, weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from impasto.backbone.vgg import Backbone, Features, layer_stride
from impasto.backbone.weights import IMAGENET
from impasto.config import Config
from impasto.errors import ConfigError
from impasto.objective.losses import energy, gram_divisor, reduction_factor
from impasto.objective.matching import (
    SAMPLES,
    Neighbours,
    Sliced,
    directions_for,
    least_cover,
    quantiles,
    sample,
)
from impasto.objective.moments import DISTANCES, NEEDS_MEAN, Moments, rooted
from impasto.objective.pixel_terms import (
    EDGE_REACH,
    Edges,
    Grain,
    Variation,
    grain_products,
    laplacian,
    tile_roughness,
)
from impasto.objective.terms import (
    Content,
    Style,
    Term,
    inside,
    layer_sums,
    layer_weights,
    moments_of,
)
from impasto.objective.tiles import UNSHARDED, Share, Sums, Tile, cut

__all__ = ["FINE", "Build", "Pattern", "Region", "features_in", "regions_of"]

FINE = ("1", "2")  # the stages whose features are strokes; those of the others are forms
# Energy of the grain of pixels that differ by one of 255 grey levels: a flat style asks for no more
# than that.
FLAT = 1e-9
LEAST = 1e-6  # share of a layer's positions: a region that covers less has no features there


class Pattern(NamedTuple):
    """A style picture (1, 3, h, w): its share, what of it is meant (1, 1, h, w) or all, and in
    which layers."""

    pixels: torch.Tensor
    share: float = 1.0
    mask: torch.Tensor | None = None
    layers: str = "all"

    def holds(self, layer: str) -> bool:
        """Whether this is the style of a layer; "" is the pixels themselves."""
        return self.layers in ("all", "fine" if not layer or layer[4] in FINE else "coarse")


class Region(NamedTuple):
    """What of the content (1, 1, H, W) in [0, 1], or None for all of it, is painted after which
    patterns."""

    name: str
    mask: torch.Tensor | None
    patterns: Sequence[Pattern]


def regions_of(styles: Sequence[torch.Tensor] | Sequence[Region]) -> list[Region]:
    """Regions as they are, or one of all the content that pictures share equally."""
    regions = [each for each in styles if isinstance(each, Region)]
    pixels = [each for each in styles if isinstance(each, torch.Tensor)]
    return regions or [Region("", None, [Pattern(each) for each in pixels])]


class Build:
    """Makes the terms of one picture's objective; `tiles` are how it is cut."""

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        side: int | None,
        content: torch.Tensor,
        layers: Sequence[str],
        share: Share = UNSHARDED,
    ):
        self.config, self.backbone, self.side, self.layers, self.share = (
            config,
            backbone,
            side,
            layers,
            share,
        )
        self.height, self.width = content.shape[2:]
        self.tiles = self._cut(content, layers)
        self.energy_normalized = config.normalize == "energy"
        if config.style_term == "sliced" and len(self.tiles) > 1:
            raise ConfigError(
                "--style-term sliced needs the whole picture at once, and this one would be "
                "in tiles: give more "
                "--memory, a larger --tile, a smaller --size, or another --style-term",
                config.style_term,
            )

    def terms(
        self, content: torch.Tensor, regions: Sequence[Region], protect: torch.Tensor | None
    ) -> Iterator[Term]:
        """All of them: content, then style and grain by region, edges, total variation."""
        yield from self._content(content, protect)
        for region in regions:
            yield from self._style(region, len(regions))
        for region in regions:
            yield from self._grain(region, len(regions))
        yield from self._edges(content)
        yield from self._variation(regions)

    def _cut(self, picture: torch.Tensor, layers: Sequence[str]) -> list[Tile]:
        height, width = picture.shape[2:]
        least = EDGE_REACH if self.config.edge_weight else 0
        return cut(height, width, self.side or max(height, width), layers, least)

    def _crops(
        self, picture: torch.Tensor, layers: Sequence[str], share: Share = UNSHARDED
    ) -> Iterator[tuple[Tile, torch.Tensor, Features]]:
        """Each tile of a picture (of the share), its crop, and the crop's features at `layers`."""
        # one way of cutting, with or without a network
        for tile in share.of(self._cut(picture, layers or self.layers)):
            crop = picture[(..., *tile.crop)]
            yield tile, crop, self.backbone(crop, layers) if layers else {}

    def _content(self, content: torch.Tensor, protect: torch.Tensor | None) -> Iterator[Content]:
        config = self.config
        if not config.content_layers:
            return
        targets: Features = {}
        energies: list[Sums] = []  # of each tile
        for tile, _, features in self._crops(content, list(config.content_layers), self.share):
            energies.append([])
            for layer, x in features.items():
                if tile.whole:
                    targets[layer] = x
                    energies[-1].append(energy(x))
                    continue
                if layer not in targets:
                    shape = (
                        1,
                        x.shape[1],
                        self.height // layer_stride(layer),
                        self.width // layer_stride(layer),
                    )
                    targets[layer] = torch.empty(
                        shape, device=x.device, dtype=x.dtype, memory_format=torch.channels_last
                    )
                window = tile.window(layer_stride(layer))
                inner = x[:, :, window.inner_rows, window.inner_columns]
                targets[layer][:, :, window.rows, window.columns] = inner
                energies[-1].append(energy(inner))
        of_layers = dict(zip(targets, self.share.all_reduce(energies), strict=True))
        units = features_in(config.feature_units, self.backbone)
        for layer, weight in config.content_layers.items():
            target = targets[layer]
            scale = config.content_weight * weight
            if self.energy_normalized:
                scale /= float(of_layers[layer])
            else:
                scale *= units**2 * reduction_factor(config.content_reduction, target.numel())
            weights = (
                None
                if protect is None
                else 1 + (config.protection - 1) * layer_weights(protect, layer)
            )
            yield Content(f"content {layer}", layer, target, scale, weights)

    def _style(self, region: Region, regions: int) -> Iterator[Term]:
        config = self.config
        of_moments = config.style_term in DISTANCES
        found = [self._moments(pattern) for pattern in region.patterns] if of_moments else []
        for layer, weight in config.style_layers.items():
            weights = None if region.mask is None else layer_weights(region.mask, layer)
            if weights is not None and float(weights.mean()) < LEAST:
                continue
            name = f"style {layer} {region.name}".strip()
            scale = config.strength * config.style_weight * weight / regions
            patterns = _shared([each for each in region.patterns if each.holds(layer)])
            if of_moments:
                target = _blended(
                    [each[layer] for each in found if layer in each],
                    [each.share for each in patterns],
                )
                yield self._distance(name, layer, target, scale, weights)
            else:
                yield self._matching(name, layer, patterns, scale, weights)

    def _moments(self, pattern: Pattern) -> dict[str, Moments]:
        """A pattern's moments at its layers, in one pass."""
        mean = self.config.style_term in NEEDS_MEAN
        layers = [
            layer
            for layer in self.config.style_layers
            if pattern.holds(layer) and pattern.share > 0
        ]
        masks = {layer: _shown(pattern, layer) for layer in layers}
        parts = (
            [layer_sums(features[layer], tile, layer, mean, masks[layer]) for layer in layers]
            for tile, _, features in self._crops(pattern.pixels, layers, self.share)
        )
        totals = dict(zip(layers, self.share.all_reduce(parts), strict=True)) if layers else {}
        height, width = pattern.pixels.shape[2:]
        return {
            layer: moments_of(
                total, mean, self._divisors(layer, total.shape[1], height, width, masks[layer])
            )
            for layer, total in totals.items()
        }

    def _distance(
        self, name: str, layer: str, target: Moments, scale: float, weights: torch.Tensor | None
    ) -> Style:
        """A style term that is a distance of moments."""
        config = self.config
        gram, channels = config.style_term == "gram", target.second.shape[1]
        if self.energy_normalized:
            scale /= float(energy(target.second)) if gram else max(_size(target), 1e-30)
        else:
            scale *= features_in(config.feature_units, self.backbone) ** (4 if gram else 2)
            scale *= reduction_factor(
                config.style_reduction, target.second.numel() if gram else channels
            )
        divisors = self._divisors(layer, channels, self.height, self.width, weights)
        target = rooted(target) if config.style_term == "wasserstein" else target
        return Style(name, layer, config.style_term, target, divisors, scale, weights)

    def _divisors(
        self, layer: str, channels: int, height: int, width: int, weights: torch.Tensor | None
    ) -> tuple[float, float]:
        """What a whole picture's sums are divided by, and its products: the config's divisor is the
        Gram matrix's."""
        rows, columns = height // layer_stride(layer), width // layer_stride(layer)
        count = rows * columns if weights is None else float(weights.sum())
        if self.config.style_term != "gram":
            return count, count
        covered = count / (rows * columns)
        return count, gram_divisor(self.config.gram_divisor, (channels, rows, columns)) * covered

    def _matching(
        self,
        name: str,
        layer: str,
        patterns: list[Pattern],
        scale: float,
        weights: torch.Tensor | None,
    ) -> Term:
        """A style term that compares features themselves."""
        if self.config.style_term == "neighbours":
            style = torch.cat(
                [self._features(each, layer, round(SAMPLES * each.share) or 1) for each in patterns]
            )
            rows, columns = self.height // layer_stride(layer), self.width // layer_stride(layer)
            count = rows * columns if weights is None else float(weights.sum())
            return Neighbours(name, layer, style, count, scale, weights)
        features = [self._features(each, layer, None) for each in patterns]
        directions = directions_for(features[0].shape[1], self.config.seed).to(features[0].device)
        along = sum(
            each.share * quantiles(f, directions)
            for each, f in zip(patterns, features, strict=True)
        )
        assert isinstance(along, torch.Tensor)
        scale /= max(float(along.square().mean(0).sum()), 1e-30)
        return Sliced(name, layer, along, directions, scale, weights)

    def _features(self, pattern: Pattern, layer: str, most: int | None) -> torch.Tensor:
        """A pattern's features at a layer, (n, C), where its mask shows them; at most `most` of
        them."""
        shown = _shown(pattern, layer)
        parts = []
        for tile, _, features in self._crops(pattern.pixels, [layer]):
            window = tile.window(layer_stride(layer))
            x = (
                features[layer][0, :, window.inner_rows, window.inner_columns]
                .permute(1, 2, 0)
                .flatten(0, 1)
            )
            if shown is not None:
                here = inside(shown, tile, layer).flatten()
                x = x[here >= least_cover(shown)]
            parts.append(x)
        found = torch.cat(parts)
        return found if most is None else sample(found, most, self.config.seed)

    def _grain(self, region: Region, regions: int) -> Iterator[Grain]:
        config = self.config
        if not config.grain_weight:
            return
        target = torch.zeros(())
        for pattern in _shared([each for each in region.patterns if each.holds("")]):
            height, width = pattern.pixels.shape[2:]
            count = _neighbours(height, width, pattern.mask)
            for tile, crop, _ in self._crops(pattern.pixels, []):
                part = grain_products(crop, tile, pattern.mask)
                target = target.to(part) + pattern.share * part / count
        scale = config.strength * config.grain_weight / regions
        if self.energy_normalized:
            scale /= max(float(energy(target)), FLAT)
        else:
            scale *= reduction_factor(config.style_reduction, target.numel())
        count = _neighbours(self.height, self.width, region.mask)
        yield Grain(f"grain {region.name}".strip(), target, count, scale, region.mask)

    def _edges(self, content: torch.Tensor) -> Iterator[Edges]:
        if self.config.edge_weight:
            target = laplacian(content)
            scale = self.config.edge_weight
            scale /= max(float(energy(target)), FLAT) if self.energy_normalized else target.numel()
            yield Edges(target, scale)

    def _variation(self, regions: Sequence[Region]) -> Iterator[Variation]:
        config = self.config
        if config.tv_weight:
            unit = self._tv_unit(regions) if self.energy_normalized else 1.0
            across, down = self._tv_factors(self.height, self.width)
            yield Variation(
                config.tv_form, (config.tv_weight / unit * across, config.tv_weight / unit * down)
            )

    def _tv_factors(self, height: int, width: int) -> tuple[float, float]:
        """What the sums over neighbours across and down are multiplied by."""
        across, down = 3 * height * (width - 1), 3 * (height - 1) * width
        reduction = self.config.tv_reduction
        return reduction_factor(reduction, across), reduction_factor(reduction, down)

    def _tv_unit(self, regions: Sequence[Region]) -> float:
        """The styles' total variation, blended by their shares."""
        total = 0.0
        for region in regions:
            for pattern in _shared([each for each in region.patterns if each.holds("")]):
                across, down = self._tv_factors(*pattern.pixels.shape[2:])
                for tile, crop, _ in self._crops(pattern.pixels, []):
                    sums = tile_roughness(crop, tile, self.config.tv_form)
                    total += (
                        pattern.share
                        * (across * float(sums[0]) + down * float(sums[1]))
                        / len(regions)
                    )
        return max(1e-8, total)


def features_in(units: str, backbone: Backbone) -> float:
    """What a network's features are to be multiplied by to be in `units` of the input.

    A recipe's weights hold for features of one size: those of pixels from 0 to 255 (Oxford's
    VGG-19) are about 57 times those of pixels divided by their deviation (torchvision's,
    `compact`). As ReLU keeps a factor, so do the features, but for the biases; a content term grows
    with its square, a style term with its fourth power.
    """
    own = sum(backbone.weights.scale) / 3
    return {"own": own, "normalized": sum(IMAGENET[2]) / 3, "0-255": 255.0}[units] / own


def _shown(pattern: Pattern, layer: str) -> torch.Tensor | None:
    """What of a pattern is meant at a layer; all of it where its mask is too small to have a
    position there."""
    if pattern.mask is None:
        return None
    weights = layer_weights(pattern.mask, layer)
    return weights if float(weights.mean()) >= LEAST else None


def _shared(patterns: list[Pattern]) -> list[Pattern]:
    """Patterns with shares that add to 1."""
    total = sum(pattern.share for pattern in patterns)
    return [
        pattern._replace(share=pattern.share / total) for pattern in patterns if pattern.share > 0
    ]


def _blended(found: list[Moments], shares: list[float]) -> Moments:
    """The moments of the mixture."""
    second = torch.stack(
        [share * each.second for share, each in zip(shares, found, strict=True)]
    ).sum(0)
    means = [
        share * each.mean
        for share, each in zip(shares, found, strict=True)
        if each.mean is not None
    ]
    return Moments(torch.stack(means).sum(0) if means else None, second)


def _size(target: Moments) -> float:
    """Mean square of the features: their distance from nothing at all."""
    return float(target.second.diagonal(dim1=-2, dim2=-1).sum())


def _neighbours(height: int, width: int, mask: torch.Tensor | None) -> float:
    """How many pixels have both neighbours, or how much of a mask they make up."""
    return (
        (height - 1) * (width - 1) if mask is None else max(float(mask[..., :-1, :-1].sum()), 1e-6)
    )
