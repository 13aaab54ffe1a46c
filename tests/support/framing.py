"""The frame that an Objective gives its pictures, written out position by position."""

import torch

__all__ = ["framed"]

MARGIN, STRIDE = 8, 16


def framed(pixels: torch.Tensor, padding: str) -> torch.Tensor:
    """A picture or a mask, (B, C, H, W), as the terms see it; it carries gradients."""
    if padding == "zeros":
        return pixels
    margin = MARGIN if min(pixels.shape[2:]) >= 2 * STRIDE else 0
    rows, columns = (_reflected(side, margin) for side in pixels.shape[2:])
    return pixels[:, :, rows][..., columns]


def _reflected(side: int, margin: int) -> list[int]:
    """Which of `side` positions stand at the positions of the framed picture."""
    end = -(-(side + 2 * margin) // STRIDE) * STRIDE - margin
    return [abs(k) if k < side else 2 * (side - 1) - k for k in range(-margin, end)]
