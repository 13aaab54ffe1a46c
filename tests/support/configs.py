"""Settings for tests of formulas and sizes: one network, Gram matrices, all layers alike."""

from typing import Any

from impasto.config import Config

__all__ = ["gram_config"]


def gram_config(**settings: Any) -> Config:
    """A Config whose objective is the plain one of Gatys et al., energy-normalized."""
    base = {
        "style_term": "gram",
        "style_weight": 3.5,
        "style_layers": "relu1_1,relu2_1,relu3_1,relu4_1,relu5_1",
        "finish": 0,
    }
    return Config(**{**base, **settings})
