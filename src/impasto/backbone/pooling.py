"""Halve features by 2 x 2 pooling, and carry gradients back through it."""

from __future__ import annotations

import logging
from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F

__all__ = [
    "AVERAGE_GAIN",
    "average_pool",
    "average_unpool",
    "max_pool",
    "max_unpool",
    "pooling_kernels",
]

# Average pooling loses energy that max pooling keeps, so this much is put back: root mean square
# after max pooling over that after average pooling, geometric mean over 60 photographs and Oxford's
# VGG-19's first three poolings, 1.255, 1.688 and 1.395 (benchmarks/pooling.py).
AVERAGE_GAIN = 1.44


log = logging.getLogger("impasto")


@cache
def pooling_kernels(device: torch.device) -> ModuleType | None:
    """The module of kernels for max pooling on a GPU (triton_pooling.py), where they can be made.

    The GPU has to be recent, and Triton and a C compiler have to be here.
    """
    if device.type != "cuda":
        return None
    try:
        from impasto.backbone import triton_pooling

        y = torch.rand(1, 8, 4, 4, device=device).contiguous(memory_format=torch.channels_last)
        if not torch.equal(triton_pooling.unpool(triton_pooling.pool(y), y).amax(), y.amax()):
            raise RuntimeError("a wrong result")
    except Exception as error:  # compilers fail in many ways
        log.info("pooling by torch, because Triton cannot make kernels here: %s", error)
        return None
    return triton_pooling


def average_pool(y: torch.Tensor) -> torch.Tensor:
    """Average over 2 x 2, scaled so that the features keep their energy; (B, C, H, W)."""
    return F.avg_pool2d(y, 2) * AVERAGE_GAIN


def average_unpool(g: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Carry a gradient back through `average_pool`, to what it took, of `size`.

    The last row and column of an odd size were dropped, and get none.
    """
    g = F.interpolate(g * (AVERAGE_GAIN / 4), scale_factor=2, mode="nearest")
    return F.pad(g, (0, size[3] - g.shape[3], 0, size[2] - g.shape[2]))


def max_pool(y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Maxima over 2 x 2, and where each is, for `max_unpool`; y (B, C, H, W).

    torch counts the positions of a map in 8 bytes; that of the window's first is left out here.
    """
    pooled, positions = F.max_pool2d(y, 2, return_indices=True)
    width = y.shape[3]
    kind = torch.int16 if width + 1 < 1 << 15 else torch.int32
    return pooled, positions.sub_(_windows(y.shape, y.device)).to(kind)


def max_unpool(g: torch.Tensor, within: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Carry a gradient back through `max_pool`, to what it took, of `size`; channels last.

    within: where the maxima were, as it returns them.
    """
    positions = within.long().add_(_windows(size, g.device))
    if g.device.type != "cuda":
        # F.max_unpool2d is the same, but loads sympy to check the size: 0.6 s at the first step
        found: torch.Tensor = torch.ops.aten.max_unpool2d(g, positions, size[2:])
        return found.contiguous(memory_format=torch.channels_last)
    # There that one lays channels first. Of what was pooled this one asks only how it lies.
    like = torch.empty(size, dtype=g.dtype, device=g.device, memory_format=torch.channels_last)
    gradient: torch.Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        g, like, [2, 2], [2, 2], [0, 0], [1, 1], False, positions
    )
    return gradient


def _windows(size: torch.Size, device: torch.device) -> torch.Tensor:
    """The position of the first value of each 2 x 2 window in a map of `size`."""
    height, width = size[2:]
    rows, columns = (torch.arange(0, side - 1, 2, device=device) for side in (height, width))
    return rows[:, None] * width + columns
