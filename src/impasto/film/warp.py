"""Carry a painting along the flow to the next frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from impasto.film.flow import Flow

__all__ = ["Warped", "anchored", "combined", "warp"]

# a painting carried to another frame (1, 3, H, W), and where to trust it (1, 1, H, W), 0 or 1
Warped = tuple[torch.Tensor, torch.Tensor]
KEY = 0.35  # share of a shot's first frame in what a later one is held to: benchmarks/film.py
COMMON = 0.1  # share of a frame: with less in common, colors are anchored less


def warp(pixels: torch.Tensor, flow: Flow) -> torch.Tensor:
    """`pixels` (1, C, H, W) at the places where a flow leads; the same shape, in [0, 1].

    Bicubic: bilinear sampling, frame after frame, blurs and darkens a film.
    """
    height, width = flow.shape[:2]
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    x = (2 * (columns + flow[..., 0].astype(float)) + 1) / width - 1
    y = (2 * (rows + flow[..., 1].astype(float)) + 1) / height - 1
    # float64: in float32 a flow of 0 would not give the same pixels
    grid = torch.from_numpy(np.stack([x, y], -1))[None]
    sampled = F.grid_sample(
        pixels.double(), grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    return sampled.float().clamp(0, 1)


def anchored(references: Sequence[Warped]) -> list[Warped]:
    """Give each picture the mean color of the last one, where both are known.

    The last is the shot's first frame, which a long solution made. Between two frames the colors
    may move by a fraction of a level everywhere, which the temporal term hardly sees; without this
    it would add up.
    """
    anchor, known = references[-1]
    result = []
    for pixels, trusted in references:
        both = trusted * known
        share = both.mean()
        shift = (both * (anchor - pixels)).mean((2, 3), keepdim=True) / share.clamp_min(COMMON)
        result.append(((pixels + shift).clamp(0, 1), trusted))
    return result


def combined(references: Sequence[Warped]) -> Warped:
    """Put warped paintings together to one that a frame is held to.

    Every pixel is the first's that knows it: with masks of 0 and 1, the sum over the references of
    the squared distances is that to this one picture (Ruder et al. 2018, section 3.3, long-term
    consistency). Where the last one knows it too, it has the share KEY: the shot's first frame was
    carried here once, the last frame in as many steps as there are between, and every one of them
    takes some of its sharpness.

    Args:
        references: nearest frame first, the shot's first frame last.

    Returns:
        The picture, which is the first reference's where none is known, and where one is.
    """
    picture, known = references[0]
    for pixels, trusted in references[1:]:
        picture = torch.where((trusted > 0) & (known == 0), pixels, picture)
        known = torch.maximum(known, trusted)
    key, trusted = references[-1]
    return torch.lerp(picture, key, KEY * trusted), known
