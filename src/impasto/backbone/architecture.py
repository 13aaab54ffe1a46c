"""The shape of VGG networks as data: which convolutions there are, and in which stage each is.

Simonyan & Zisserman, "Very deep convolutional networks", ICLR 2015 (arXiv 1409.1556), table 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from impasto.errors import ConfigError, did_you_mean, shortened
from impasto.parsing import parse_weights

__all__ = [
    "ARCHITECTURES",
    "LAYERS",
    "STRIDE",
    "VGG16",
    "VGG19",
    "Architecture",
    "architecture_of",
    "convolution_of",
    "layer_name",
    "layer_stride",
    "parse_layers",
    "reach",
    "stage_of",
]


@dataclass(frozen=True)
class Architecture:
    """A network of 3 x 3 convolutions in stages, with a 2 x 2 pooling between two stages.

    depths: convolutions in each stage. widths: channels of each stage's, as published.
    """

    name: str
    depths: tuple[int, ...]
    widths: tuple[int, ...]

    @cached_property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions, first to last: "conv1_1", "conv1_2", "conv2_1" ..."""
        return tuple(
            f"conv{stage}_{k}"
            for stage, depth in enumerate(self.depths, 1)
            for k in range(1, depth + 1)
        )

    @cached_property
    def channels(self) -> dict[str, int]:
        """Channels of each convolution as published."""
        return {name: self.widths[STAGES[name] - 1] for name in self.convolutions}

    @cached_property
    def torchvision_numbers(self) -> tuple[int, ...]:
        """Index of each convolution in torchvision's `features`: a ReLU follows each, a pooling
        each stage."""
        return tuple(2 * k + STAGES[name] - 1 for k, name in enumerate(self.convolutions))

    @cached_property
    def before_pooling(self) -> tuple[str, ...]:
        """The last convolution of each stage but the last."""
        names = self.convolutions
        return tuple(name for name, after in pairwise(names) if STAGES[name] != STAGES[after])


VGG19 = Architecture("VGG-19", (2, 2, 4, 4, 4), (64, 128, 256, 512, 512))
VGG16 = Architecture("VGG-16", (2, 2, 3, 3, 3), (64, 128, 256, 512, 512))
ARCHITECTURES = (VGG19, VGG16)

# The stage of every convolution; VGG-19 has all that VGG-16 has.
STAGES = {
    f"conv{stage}_{k}": stage
    for stage, depth in enumerate(VGG19.depths, 1)
    for k in range(1, depth + 1)
}
LAYERS = tuple(name for conv in VGG19.convolutions for name in (conv, conv.replace("conv", "relu")))
STRIDE = 16  # pixels from one position of the deepest stage to the next


def architecture_of(convolutions: Iterable[str]) -> Architecture | None:
    """Find the architecture that begins with these convolutions, in this order; None: none does.

    Up to conv3_3 VGG-16 is the beginning of VGG-19.
    """
    held = tuple(convolutions)
    return next((each for each in ARCHITECTURES if each.convolutions[: len(held)] == held), None)


def layer_name(name: str) -> str:
    """Give a layer's name in the package's form: "conv4_2", "relu4_2".

    Keras's "block4_conv2" is taken, too. Raises ConfigError for a layer that VGG-19 does not have.
    """
    plain = re.sub(r"^block(\d)_conv(\d)$", r"conv\1_\2", name.strip().lower())
    if plain not in LAYERS:
        raise ConfigError(
            f"no layer {shortened(name)} in VGG-19: {did_you_mean(plain, LAYERS)}", name, LAYERS
        )
    return plain


def parse_layers(value: Any) -> Any:
    """Read weights by layer, "relu1_1=1,relu2_1=0.5": as `parse_weights`, with the names
    checked."""
    weights = parse_weights(value)
    return (
        {layer_name(str(name)): weight for name, weight in weights.items()}
        if isinstance(weights, Mapping)
        else value
    )


def convolution_of(layer: str) -> str:
    """Name the convolution of a layer: "relu4_2" -> "conv4_2"."""
    return layer.replace("relu", "conv")


def stage_of(layer: str) -> int:
    """Number the stage of a layer, from 1: "relu3_1" -> 3."""
    return STAGES[convolution_of(layer)]


def layer_stride(layer: str) -> int:
    """Count the pixels from one position of a layer to the next: "relu3_1" -> 4."""
    return 1 << stage_of(layer) - 1


def reach(layers: Iterable[str], architecture: Architecture = VGG19) -> int:
    """Count the pixels that a position of any of `layers` sees beyond its first, either way.

    It is a tile's halo. Each 3 x 3 convolution adds the stride of its stage on both sides; the
    position itself is a stride wide. VGG-19 sees farthest: its halo is enough for all.
    """
    names = architecture.convolutions
    deepest = max(names.index(convolution_of(layer)) for layer in layers)
    return sum(map(layer_stride, names[: deepest + 1])) + layer_stride(names[deepest]) - 1
