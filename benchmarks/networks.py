"""VGG-19 for timing: the true numbers as far as they are at hand, and seeded noise for the rest."""

from pathlib import Path

import torch

from impasto.backbone.architecture import VGG19
from impasto.backbone.weight_files import Weights
from impasto.backbone.weights import load


def vgg19(partial: Path | None, seed: int = 0) -> Weights:
    """A network of VGG-19's size up to conv5_1: the convolutions in `partial`, He noise for others.

    Speed does not depend on the numbers, and any fixed network defines an objective to reach. The
    network's `name` says which numbers are true.
    """
    true = load(str(partial)) if partial and partial.exists() else None
    generator = torch.Generator().manual_seed(seed)
    kernels, channels = {}, 3
    for name, width in list(VGG19.channels.items())[: VGG19.convolutions.index("conv5_1") + 1]:
        noise = (
            torch.randn(width, channels, 3, 3, generator=generator) * (2 / (9 * channels)) ** 0.5
        )
        kernels[name] = (
            true.kernels[name] if true and name in true.kernels else (noise, torch.zeros(width))
        )
        channels = width
    if true is None:
        shape = load("compact")  # for its input alone
        return Weights("vgg19 of He noise", kernels, shape.order, shape.mean, shape.scale)
    known = list(true.kernels)[-1]
    return Weights(
        f"vgg19, true to {known}, then He noise", kernels, true.order, true.mean, true.scale
    )
