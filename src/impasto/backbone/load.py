"""The network that a config names, where it says."""

from __future__ import annotations

import torch

from impasto.backbone.download import Progress
from impasto.backbone.vgg import Backbone, fast_dtype
from impasto.backbone.weights import Weights, load
from impasto.config import Config
from impasto.errors import ConfigError

__all__ = ["load_backbone"]


def load_backbone(
    config: Config, progress: Progress | None = None, weights: Weights | None = None
) -> Backbone:
    """The network that `config` names, on its device, in its precision; `progress` sees its
    download, if any.

    weights: of that network, where they are at hand. Raises WeightsError, ConfigError.
    """
    device = _device(config.device)
    dtype = fast_dtype(device) if config.precision == "auto" else getattr(torch, config.precision)
    weights = weights or load(config.backbone, progress)
    return Backbone(
        weights, pooling=config.pooling, padding=config.padding, device=device, dtype=dtype
    )


def _device(name: str) -> torch.device:
    have = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device(next(each for each in ("cuda", "mps", "cpu") if have[each]))
    if not have[name]:
        here = [each for each, there in have.items() if there]
        raise ConfigError(
            f"--device {name} is not on this machine: choose from {', '.join(here)}", name, here
        )
    return torch.device(name)
