"""Targets, weights, the sum, and each term's value by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from impasto.backbone import Backbone
from impasto.backbone.weights import IMAGENET
from impasto.config import Config
from impasto.objective.losses import content_loss, differences, energy, gram, style_loss, total_variation

__all__ = ["Objective", "Value"]

FLAT = (
    1e-9  # energy of the grain of pixels that differ by one of 255 grey levels: a flat style asks for no more than that
)


class Value(NamedTuple):
    """The objective at one picture: the sum, and each weighted term by name; 0-d tensors on the picture's device."""

    total: torch.Tensor
    terms: dict[str, torch.Tensor]


class Objective:
    """Content, style, grain and total variation of a picture against fixed targets: the sum that a painting minimises.

    With `normalize="energy"` (the house form) a term is its squared distance over its target's sum of squares:

        content  |F(x) - F(c)|^2 / |F(c)|^2    style, grain  |G(x) - G(s)|^2 / |G(s)|^2    tv  TV(x) / TV(s)

    so that 1 means "as far away as nothing at all", at every size and with every network. Else the reductions and
    divisors of the config apply, to features in the config's `feature_units`. Layer weights multiply; `strength`
    multiplies the style and grain terms.
    """

    def __init__(self, config: Config, backbone: Backbone, content: torch.Tensor, styles: Sequence[torch.Tensor]):
        """content (1, 3, H, W) and each style (1, 3, h, w) float32 in [0, 1], on the backbone's device."""
        self.config, self.backbone = config, backbone
        self.layers = tuple(dict.fromkeys([*config.content_layers, *config.style_layers]))
        with torch.no_grad():
            features = backbone(content, config.content_layers) if config.content_layers else {}
            self._content = {name: value.clone() for name, value in features.items()}
            self._style = self._style_targets(styles)
            self._grain = self._grain_target(styles) if config.grain_weight else None
            self._units = self._energies(styles)

    def _style_targets(self, styles: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The styles' Gram matrices, blended by their shares."""
        if not self.config.style_layers:
            return {}
        targets: dict[str, torch.Tensor] = {}
        for share, style in zip(shares(self.config, len(styles)), styles, strict=True):
            for name, value in self.backbone(style, self.config.style_layers).items():
                part = share * gram(value, self.config.gram_divisor)
                targets[name] = targets[name] + part if name in targets else part
        return targets

    def _grain_target(self, styles: Sequence[torch.Tensor]) -> torch.Tensor:
        """The Gram matrix of the styles' differences, blended by their shares."""
        weighted = [
            s * gram(differences(style)) for s, style in zip(shares(self.config, len(styles)), styles, strict=True)
        ]
        return torch.stack(weighted).sum(0)

    def _energies(self, styles: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """What each term is divided by in the house form; empty in the others."""
        config = self.config
        if config.normalize == "none":
            return {}
        units = {f"content {name}": energy(target) for name, target in self._content.items()}
        units |= {f"style {name}": energy(target) for name, target in self._style.items()}
        if self._grain is not None:
            units["grain"] = energy(self._grain).clamp_min(FLAT)
        if config.tv_weight:
            roughness = [total_variation(style, config.tv_form, config.tv_reduction) for style in styles]
            weighted = [share * each for share, each in zip(shares(config, len(styles)), roughness, strict=True)]
            units["tv"] = torch.stack(weighted).sum().clamp_min(1e-8)
        return units

    def __call__(self, pixels: torch.Tensor) -> Value:
        """The objective at `pixels` (1, 3, H, W) in [0, 1], H and W the content's: one forward pass."""
        config = self.config
        house = config.normalize == "energy"
        features = self.backbone(pixels, self.layers)
        units = 1.0 if house else features_in(config.feature_units, self.backbone)
        terms: dict[str, torch.Tensor] = {}
        for name, weight in config.content_layers.items():
            distance = content_loss(features[name], self._content[name], "sum" if house else config.content_reduction)
            terms[f"content {name}"] = config.content_weight * weight * units**2 * distance
        for name, weight in config.style_layers.items():
            matrix = gram(features[name], config.gram_divisor)
            distance = style_loss(matrix, self._style[name], "sum" if house else config.style_reduction)
            terms[f"style {name}"] = config.strength * config.style_weight * weight * units**4 * distance
        if self._grain is not None:
            distance = style_loss(gram(differences(pixels)), self._grain, "sum" if house else config.style_reduction)
            terms["grain"] = config.strength * config.grain_weight * distance
        if config.tv_weight:
            terms["tv"] = config.tv_weight * total_variation(pixels, config.tv_form, config.tv_reduction)
        terms = {name: value / self._units[name] if house else value for name, value in terms.items()}
        return Value(torch.stack(list(terms.values())).sum(), terms)


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
