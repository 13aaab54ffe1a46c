"""Continue pictures beyond their border, so that the network sees all of it and no dark rim.

A convolution pads with zeros, which features near the border take for an edge, and a pooling drops
the last row and column of an odd size: up to 15 pixels at stage 5.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from impasto.backbone.architecture import STRIDE
from impasto.backbone.vgg import Backbone
from impasto.objective.regions import Region, StyleSource

__all__ = ["MARGIN", "Frame", "frame_of", "framed_regions", "framed_styles"]

MARGIN = 8  # pixels on each side: beyond it zeros at the border color nothing any more


class Frame(NamedTuple):
    """The pixels on each side by which pictures of one size are continued, by reflection."""

    top: int
    bottom: int
    left: int
    right: int

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of a picture of height x width with its frame."""
        return height + self.top + self.bottom, width + self.left + self.right

    def add(self, pixels: torch.Tensor) -> torch.Tensor:
        """Frame pictures or masks: (B, C, H, W) to (B, C, top + H + bottom, left + W + right).

        They are reflected at the centers of their outermost pixels, which are not repeated.
        """
        if not any(self):
            return pixels
        return F.pad(pixels, (self.left, self.right, self.top, self.bottom), mode="reflect")

    def fold(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient to the pictures, (B, C, H, W), from that to the framed ones.

        It is the adjoint of `add`: what came to a reflected pixel belongs to the pixel that it is
        a copy of.
        """
        if not any(self):
            return gradient
        by_rows = _folded(gradient, 2, self.top, self.bottom)
        return _folded(by_rows, 3, self.left, self.right)


def _folded(g: torch.Tensor, dim: int, before: int, after: int) -> torch.Tensor:
    """Add the first and the last positions along `dim` to those that they are reflections of."""
    size = g.shape[dim] - before - after
    result = g.narrow(dim, before, size).clone(memory_format=torch.contiguous_format)
    # position k beyond either end is a copy of position k within it
    result.narrow(dim, 1, before).add_(g.narrow(dim, 0, before).flip(dim))
    beyond = g.narrow(dim, before + size, after).flip(dim)
    result.narrow(dim, size - 1 - after, after).add_(beyond)
    return result


def frame_of(height: int, width: int, backbone: Backbone) -> Frame:
    """Choose the frame of pictures of one size.

    With zeros as padding, as in the published recipes, there is none. Otherwise both sides become
    multiples of 16, after a margin on all sides where the picture is at least 32 x 32; so the
    frame is always narrower than the picture, as a reflection has to be.

    Args:
        height, width: of the pictures, 16 or more.
        backbone: the network that looks at them.
    """
    if backbone.padding == "zeros":
        return Frame(0, 0, 0, 0)
    margin = MARGIN if min(height, width) >= 2 * STRIDE else 0
    bottom, right = (margin + -(side + 2 * margin) % STRIDE for side in (height, width))
    return Frame(margin, bottom, margin, right)


def framed_regions(regions: Iterable[Region], frame: Frame) -> list[Region]:
    """Frame the masks of the regions of a content; their styles stay as they are."""
    return [
        region if region.mask is None else region._replace(mask=frame.add(region.mask))
        for region in regions
    ]


def framed_styles(regions: Iterable[Region], backbone: Backbone) -> list[Region]:
    """Frame the style pictures of regions, and their masks; those of the regions stay."""
    return [
        region._replace(styles=[_framed(style, backbone) for style in region.styles])
        for region in regions
    ]


def _framed(style: StyleSource, backbone: Backbone) -> StyleSource:
    frame = frame_of(*style.pixels.shape[2:], backbone)
    mask = None if style.mask is None else frame.add(style.mask)
    return style._replace(pixels=frame.add(style.pixels), mask=mask)
