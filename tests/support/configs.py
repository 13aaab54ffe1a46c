"""Settings for tests of formulas and sizes: one network, Gram matrices, all layers alike."""

from typing import Any

import torch

from impasto.backbone.architecture import VGG19, convolution_of
from impasto.config import Config

__all__ = ["gram_config", "position_factor"]


def gram_config(**settings: Any) -> Config:
    """A Config whose objective is the plain one of Gatys et al., energy-normalized."""
    base = {
        "style_term": "gram",
        "style_weight": 3.5,
        "style_layers": "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1",
        "finish": 0,
    }
    return Config(**{**base, **settings})


def position_factor(config: Config, layer: str, features: torch.Tensor) -> float:
    """What the formulas say of a style layer with few positions, from its features."""
    if config.normalize != "energy" or not config.content_layers:
        return 1.0
    channels = VGG19.channels[convolution_of(layer)]
    return min(1.0, features.shape[2] * features.shape[3] / channels) ** 2
