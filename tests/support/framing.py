"""The frame that a network's pictures get, written out position by position."""

from collections.abc import Iterable

import torch

from impasto.backbone.vgg import Backbone

__all__ = ["framed", "seen"]

STRIDE = 16


def framed(pixels: torch.Tensor, padding: str) -> torch.Tensor:
    """A picture (B, C, H, W) as the network sees it; it carries gradients."""
    if padding == "zeros":
        return pixels
    rows, columns = (_reflected(side, _before(pixels)) for side in pixels.shape[2:])
    return pixels[:, :, rows][..., columns]


def seen(
    backbone: Backbone, pixels: torch.Tensor, layers: Iterable[str]
) -> dict[str, torch.Tensor]:
    """The features of a picture, framed, at the positions that are its own."""
    features = backbone(framed(pixels, backbone.padding), layers)
    before = 0 if backbone.padding == "zeros" else _before(pixels)
    height, width = pixels.shape[2:]
    found = {}
    for layer, x in features.items():
        stride = 2 ** (int(layer[4]) - 1)
        first, rows, columns = before // stride, height // stride, width // stride
        found[layer] = x[:, :, first : first + rows, first : first + columns]
    return found


def _before(pixels: torch.Tensor) -> int:
    return STRIDE if min(pixels.shape[2:]) >= 2 * STRIDE else 0


def _reflected(side: int, before: int) -> list[int]:
    """Which of `side` positions stand at the positions of the framed picture."""
    end = -(-(side + (8 if before else 0)) // STRIDE) * STRIDE
    return [-1 - k if k < 0 else k if k < side else 2 * side - 1 - k for k in range(-before, end)]
