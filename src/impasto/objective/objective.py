"""The sum that a painting minimises, and its gradient: over the whole picture at once, or exactly over tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from impasto.backbone import Backbone, Features, Tape, layer_stride
from impasto.backbone.weights import IMAGENET
from impasto.config import Config
from impasto.objective.losses import energy, gram_divisor, products, reduction_factor
from impasto.objective.terms import (
    Content,
    Grain,
    Style,
    Term,
    Variation,
    layer_products,
    tile_differences,
    tile_roughness,
)
from impasto.objective.tiles import Tile, cut

__all__ = ["Objective", "Value"]

Shared = Sequence[tuple[float, torch.Tensor]]  # styles with their shares

# Energy of the grain of pixels that differ by one of 255 grey levels: a flat style asks for no more than that.
FLAT = 1e-9


class Value(NamedTuple):
    """The objective at one picture: the sum, (), and its weighted terms, (n,), with their names; on its device."""

    total: torch.Tensor
    parts: torch.Tensor
    names: tuple[str, ...]

    @property
    def terms(self) -> dict[str, torch.Tensor]:
        """Each weighted term by name; 0-d tensors."""
        return dict(zip(self.names, self.parts.unbind(), strict=True))


class Objective:
    """Content, style, grain and total variation of a picture against fixed targets: the sum that a painting minimises.

    With `normalize="energy"` (the house form) a term is its squared distance over its target's sum of squares:

        content  |F(x) - F(c)|^2 / |F(c)|^2    style, grain  |G(x) - G(s)|^2 / |G(s)|^2    tv  TV(x) / TV(s)

    so that 1 means "as far away as nothing at all", at every size and with every network. Else the reductions and
    divisors of the config apply, to features in the config's `feature_units`. Layer weights multiply; `strength`
    multiplies the style and grain terms.
    """

    def __init__(
        self,
        config: Config,
        backbone: Backbone,
        content: torch.Tensor,
        styles: Sequence[torch.Tensor],
        side: int | None = None,
    ):
        """content (1, 3, H, W) and each style (1, 3, h, w) float32 in [0, 1], on the backbone's device.

        side: pictures larger than side x side are cut into tiles no larger; the objective is the same.
        """
        self.config, self.backbone, self.side = config, backbone, side
        self.layers = tuple(dict.fromkeys([*config.content_layers, *config.style_layers]))
        self.tiles = self._cut(content, self.layers)
        shared = list(zip(shares(config, len(styles)), styles, strict=True))
        with torch.no_grad():
            self.terms: list[Term] = [
                *self._content_terms(content),
                *self._style_terms(shared),
                *self._pixel_terms(content, shared),
            ]
        self.names = tuple(term.name for term in self.terms)

    @torch.no_grad()
    def evaluate(self, pixels: torch.Tensor) -> tuple[Value, torch.Tensor]:
        """The objective at `pixels` (1, 3, H, W) float32 in [0, 1], H and W the content's, and its gradient there.

        One forward and one backward pass. Over tiles the first pass adds up what the terms are functions of; only then
        is the gradient known that a second, forward and backward, hands to each tile: one more forward pass in all.
        """
        if len(self.tiles) == 1:
            features, tape = self.backbone.record(pixels, self.layers)
            totals = self._measure(pixels, features, self.tiles[0])
            return self._value(totals), self._gradient(pixels, features, tape, self.tiles[0], totals)
        totals = self._totals(pixels)
        gradient = torch.zeros_like(pixels)
        for tile in self.tiles:
            crop = pixels[(..., *tile.crop)]
            features, tape = self.backbone.record(crop, self.layers)
            gradient[(..., *tile.crop)] += self._gradient(crop, features, tape, tile, totals)
        return self._value(totals), gradient

    @torch.no_grad()
    def __call__(self, pixels: torch.Tensor) -> Value:
        """The objective at `pixels`, as in `evaluate`, without the gradient."""
        return self._value(self._totals(pixels))

    def _totals(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        totals: list[torch.Tensor] = []
        for tile in self.tiles:
            crop = pixels[(..., *tile.crop)]
            parts = self._measure(crop, self.backbone(crop, self.layers), tile)
            totals = [a + b for a, b in zip(totals, parts, strict=True)] if totals else parts
        return totals

    def _measure(self, crop: torch.Tensor, features: Features, tile: Tile) -> list[torch.Tensor]:
        return [term.measure(features[term.layer] if term.layer else crop, tile) for term in self.terms]

    def _value(self, totals: list[torch.Tensor]) -> Value:
        parts = torch.stack([term.value(total) for term, total in zip(self.terms, totals, strict=True)])
        return Value(parts.sum(), parts, self.names)

    def _gradient(
        self, crop: torch.Tensor, features: Features, tape: Tape, tile: Tile, totals: list[torch.Tensor]
    ) -> torch.Tensor:
        """The gradient to the tile's crop; uses up `features` and `tape`."""

        def add(layer: str, g: torch.Tensor | None) -> torch.Tensor | None:
            x = features.pop(layer) if layer else crop
            for term, total in zip(self.terms, totals, strict=True):
                if term.layer == layer:
                    g = term.add_gradient(g, x, tile, total)
            return g

        gradient = add("", tape.gradient(add))
        assert gradient is not None
        return gradient

    def _cut(self, picture: torch.Tensor, layers: Sequence[str]) -> list[Tile]:
        height, width = picture.shape[2:]
        return cut(height, width, self.side or max(height, width), layers)

    def _crops(self, picture: torch.Tensor, layers: Sequence[str]) -> Iterator[tuple[Tile, torch.Tensor, Features]]:
        """Each tile of a picture, its crop, and the crop's features at `layers`."""
        for tile in self._cut(picture, layers or self.layers):  # one way of cutting, with or without a network
            crop = picture[(..., *tile.crop)]
            yield tile, crop, self.backbone(crop, layers) if layers else {}

    def _content_terms(self, content: torch.Tensor) -> Iterator[Content]:
        config = self.config
        if not config.content_layers:
            return
        height, width = content.shape[2:]
        targets: Features = {}
        for tile, _, features in self._crops(content, list(config.content_layers)):
            for layer, x in features.items():
                if tile.whole:
                    targets[layer] = x
                    continue
                if layer not in targets:
                    shape = (1, x.shape[1], height // layer_stride(layer), width // layer_stride(layer))
                    targets[layer] = torch.empty(
                        shape, device=x.device, dtype=x.dtype, memory_format=torch.channels_last
                    )
                region = tile.region(layer_stride(layer))
                inner = x[:, :, region.inner_rows, region.inner_columns]
                targets[layer][:, :, region.rows, region.columns] = inner
        units = features_in(config.feature_units, self.backbone)
        for layer, weight in config.content_layers.items():
            target = targets[layer]
            scale = config.content_weight * weight
            if config.normalize == "energy":
                scale /= float(energy(target))
            else:
                scale *= units**2 * reduction_factor(config.content_reduction, target.numel())
            yield Content(f"content {layer}", layer, target, scale)

    def _style_terms(self, styles: Shared) -> Iterator[Style]:
        config = self.config
        if not config.style_layers:
            return
        targets: dict[str, torch.Tensor] = {}
        height, width = self.tiles[0].height, self.tiles[0].width
        for share, style in styles:
            for tile, _, features in self._crops(style, list(config.style_layers)):
                for layer, x in features.items():
                    divisor = self._divisor(layer, x.shape[1], tile.height, tile.width)
                    part = share * (layer_products(x, tile, layer) / divisor)
                    targets[layer] = targets[layer] + part if layer in targets else part
        units = features_in(config.feature_units, self.backbone)
        for layer, weight in config.style_layers.items():
            target = targets[layer]
            scale = config.strength * config.style_weight * weight
            if config.normalize == "energy":
                scale /= float(energy(target))
            else:
                scale *= units**4 * reduction_factor(config.style_reduction, target.numel())
            divisor = self._divisor(layer, target.shape[1], height, width)
            yield Style(f"style {layer}", layer, target, divisor, scale)

    def _divisor(self, layer: str, channels: int, height: int, width: int) -> float:
        """What the Gram matrix of a whole picture of height x width is divided by."""
        stride = layer_stride(layer)
        return gram_divisor(self.config.gram_divisor, (channels, height // stride, width // stride))

    def _pixel_terms(self, content: torch.Tensor, styles: Shared) -> Iterator[Term]:
        """Grain and total variation, which need no network."""
        config = self.config
        house = config.normalize == "energy"
        height, width = content.shape[2:]
        if config.grain_weight:
            target = torch.zeros(())
            for share, style in styles:
                for tile, crop, _ in self._crops(style, []):
                    part = products(tile_differences(crop, tile))
                    target = target.to(part) + share * part / ((tile.height - 1) * (tile.width - 1))
            scale = config.strength * config.grain_weight
            if house:
                scale /= max(float(energy(target)), FLAT)
            else:
                scale *= reduction_factor(config.style_reduction, target.numel())
            yield Grain(target, (height - 1) * (width - 1), scale)
        if config.tv_weight:
            unit = self._tv_unit(styles) if house else 1.0
            across, down = self._tv_factors(height, width)
            yield Variation(config.tv_form, (config.tv_weight / unit * across, config.tv_weight / unit * down))

    def _tv_factors(self, height: int, width: int) -> tuple[float, float]:
        """What the sums over neighbours across and down are multiplied by."""
        across, down = 3 * height * (width - 1), 3 * (height - 1) * width
        reduction = self.config.tv_reduction
        return reduction_factor(reduction, across), reduction_factor(reduction, down)

    def _tv_unit(self, styles: Shared) -> float:
        """The styles' total variation, blended by their shares."""
        total = 0.0
        for share, style in styles:
            across, down = self._tv_factors(*style.shape[2:])
            for tile, crop, _ in self._crops(style, []):
                sums = tile_roughness(crop, tile, self.config.tv_form)
                total += share * (across * float(sums[0]) + down * float(sums[1]))
        return max(1e-8, total)


def features_in(units: str, backbone: Backbone) -> float:
    """What a network's features are to be multiplied by to be in `units` of the input.

    A recipe's weights hold for features of one size: those of pixels from 0 to 255 (Oxford's VGG-19) are about 57 times
    those of pixels divided by their deviation (torchvision's, `compact`). As ReLU keeps a factor, so do the features,
    but for the biases; a content term grows with its square, a style term with its fourth power.
    """
    own = sum(backbone.weights.scale) / 3
    return {"own": own, "normalized": sum(IMAGENET[2]) / 3, "0-255": 255.0}[units] / own


def shares(config: Config, styles: int) -> list[float]:
    """Each style's share, adding to 1: `blend`, or equal shares. `blend` has one weight a style (paint checks)."""
    weights = config.blend or (1.0,) * styles
    return [weight / sum(weights) for weight in weights]
