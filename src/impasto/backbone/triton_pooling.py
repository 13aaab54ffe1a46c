"""Max pooling and the way back through it on a CUDA GPU, in one kernel each, channels last.

torch keeps where the maxima were, 8 bytes each, and masks by ReLU in a pass of its own. Here the
way back compares again: it reads and writes less, and that is all that a pooling costs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

__all__ = ["pool", "unpool"]

ELEMENTS = 2048  # of one program: positions by channels


@triton.jit  # type: ignore[untyped-decorator]
def _places(height, width, channels, positions: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Offsets of a program's part of the halved map and of the upper left pixels of its windows in
    the full one, (positions, block), and the image and the channel of each."""
    position = tl.program_id(0).to(tl.int64) * positions + tl.arange(0, positions)[:, None]
    channel = tl.arange(0, block)[None, :]
    column, row = position % (width // 2), position // (width // 2)
    image, row = row // (height // 2), row % (height // 2)
    full = ((image * height + 2 * row) * width + 2 * column) * channels + channel
    return position * channels + channel, full, image, channel


@triton.jit
def _window(corner, width, channels, inside):  # type: ignore[no-untyped-def]
    """The four values of each window, row by row, from the pointers to its upper left pixel."""
    below = corner + width * channels
    return (
        tl.load(corner, inside),
        tl.load(corner + channels, inside),
        tl.load(below, inside),
        tl.load(below + channels, inside),
    )


@triton.jit  # type: ignore[untyped-decorator]
def _pool_kernel(  # type: ignore[no-untyped-def]
    y,
    pooled,
    images,
    height,
    width,
    channels,
    positions: tl.constexpr,
    block: tl.constexpr,
):
    here, full, image, channel = _places(height, width, channels, positions, block)
    inside = (image < images) & (channel < channels)
    a, b, c, d = _window(y + full, width, channels, inside)
    tl.store(pooled + here, tl.maximum(tl.maximum(a, b), tl.maximum(c, d)), inside)


@triton.jit  # type: ignore[untyped-decorator]
def _unpool_kernel(  # type: ignore[no-untyped-def]
    g,
    y,
    out,
    images,
    height,
    width,
    channels,
    positions: tl.constexpr,
    block: tl.constexpr,
):
    here, full, image, channel = _places(height, width, channels, positions, block)
    inside = (image < images) & (channel < channels)
    down = width * channels
    a, b, c, d = _window(y + full, width, channels, inside)
    most = tl.maximum(tl.maximum(a, b), tl.maximum(c, d))
    value = tl.load(g + here, inside)
    value = tl.where(most > 0, value, 0.0).to(value.dtype)
    # of equal maxima the first has it all, as torch has it
    at_a, at_b, at_c = a == most, b == most, c == most
    tl.store(out + full, tl.where(at_a, value, 0.0), inside)
    tl.store(out + full + channels, tl.where(at_b & ~at_a, value, 0.0), inside)
    tl.store(out + full + down, tl.where(at_c & ~(at_a | at_b), value, 0.0), inside)
    tl.store(out + full + down + channels, tl.where(~(at_a | at_b | at_c), value, 0.0), inside)


def pool(y: torch.Tensor) -> torch.Tensor:
    """Maxima over 2 x 2; (B, C, H, W) channels last -> (B, C, H / 2, W / 2)."""
    images, channels, height, width = y.shape
    pooled = torch.empty(
        (images, channels, height // 2, width // 2),
        dtype=y.dtype,
        device=y.device,
        memory_format=torch.channels_last,
    )
    grid, positions, block = _sizes(pooled)
    _pool_kernel[grid](y, pooled, images, height, width, channels, positions, block)
    return pooled


def unpool(g: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Carry a gradient back through ReLU and `pool`.

    g (B, C, H / 2, W / 2), y (B, C, H, W) channels last: between ReLU and pooling. The last row and
    column of an odd size get none.
    """
    images, channels, height, width = y.shape
    out = torch.empty_like(y) if height % 2 == width % 2 == 0 else torch.zeros_like(y)
    g = g.contiguous(memory_format=torch.channels_last)
    grid, positions, block = _sizes(g)
    _unpool_kernel[grid](g, y, out, images, height, width, channels, positions, block)
    return out


def _sizes(halved: torch.Tensor) -> tuple[tuple[int], int, int]:
    """The number of programs, and how many positions and channels each has."""
    images, channels, rows, columns = halved.shape
    block = triton.next_power_of_2(channels)
    positions = max(1, ELEMENTS // block)
    return (triton.cdiv(images * rows * columns, positions),), positions, block
