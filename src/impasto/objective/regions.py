"""Regions of an image, and the style images of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch

from impasto.backbone.architecture import layer_stride

__all__ = ["Layers", "Region", "StyleSource", "normalized", "regions_of"]

Layers = Literal["all", "fine", "coarse"]
FINE_STRIDE = 2  # the most of a layer whose features are strokes; those of the others are forms


class StyleSource(NamedTuple):
    """A style image of a region.

    pixels: (1, 3, h, w) in [0, 1].
    weight: relative to the region's other styles.
    mask: the area to take the style from, (1, 1, h, w) in [0, 1]; None: all of it.
    layers: which layers it applies to; the pixels themselves are "fine".
    name: of its file, for messages.
    """

    pixels: torch.Tensor
    weight: float = 1.0
    mask: torch.Tensor | None = None
    layers: Layers = "all"
    name: str = ""

    def applies_to(self, layer: str) -> bool:
        """Whether this is a style of the layer; "" stands for the pixels themselves."""
        fine = not layer or layer_stride(layer) <= FINE_STRIDE
        return self.layers in ("all", "fine" if fine else "coarse")


class Region(NamedTuple):
    """A region of the content, and its styles.

    mask: (1, 1, H, W) in [0, 1]; None: all of the content. It has the content's size where an
    objective is made of it, and any size before.
    """

    name: str
    mask: torch.Tensor | None
    styles: Sequence[StyleSource]


def regions_of(styles: Sequence[torch.Tensor] | Sequence[Region]) -> list[Region]:
    """Regions as they are, or one region of all the content for style images of equal weight."""
    regions = [style for style in styles if isinstance(style, Region)]
    images = [style for style in styles if isinstance(style, torch.Tensor)]
    return regions or [Region("", None, [StyleSource(pixels) for pixels in images])]


def normalized(styles: Sequence[StyleSource], layer: str) -> list[StyleSource]:
    """The styles that apply to a layer, with weights that add to 1; those of no weight left out."""
    applied = [style for style in styles if style.applies_to(layer)]
    total = sum(style.weight for style in applied)
    return [style._replace(weight=style.weight / total) for style in applied if style.weight > 0]
