"""3 x 3 convolution in 8-bit integers, for processors that multiply four of them at once (VNNI).

Features and gradients are rounded to 255 levels between 0, or minus the largest, and the largest
number of the picture, the kernel to 255 levels for each channel that comes out. Products and sums
are exact integers, and the result is a floating-point number again.

A pass through VGG-19 and back so has a gradient that is some 10 % off, evenly in all directions. It
leads L-BFGS down as fast as the exact one (docs/speed.md).
"""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["Int8Convolution", "has_int8"]

LEVELS = 255  # of a byte, above 0
ZERO = 128  # the byte that stands for 0 where there are numbers below it
MOST = 127  # levels on either side of it, and of a kernel
CHUNK = 1 << 19  # numbers that are rounded at a time, in a core's cache


class Int8Convolution:
    """A 3 x 3 convolution with fixed numbers and padding 1, on a CPU, of features or a gradient."""

    def __init__(self, kernel: torch.Tensor, bias: torch.Tensor | None):
        """kernel (O, I, 3, 3), bias (O,), float32. Without a bias it is of a gradient: its input
        may be below 0."""
        self._signed, self._bias = bias is None, bias
        self._zero = ZERO if self._signed else 0
        self._step = (kernel.abs().amax((1, 2, 3)) / MOST).clamp_min(torch.finfo().tiny)
        self._zeros = torch.zeros(len(kernel), dtype=torch.int64)
        rounded = (kernel / self._step[:, None, None, None]).round().to(torch.int8)
        self._packed = torch.ops.onednn.qconv_prepack(
            rounded, self._step, 1.0, self._zero, [1, 1], [1, 1], [1, 1], 1, None
        )

    def __call__(self, y: torch.Tensor, *, relu: bool = False) -> torch.Tensor:
        """(B, I, H, W) channels last -> (B, O, H, W) of the same dtype, after ReLU if `relu`."""
        # each picture has steps of its own: it is the same alone and among others
        found = [self._one(y[k : k + 1], relu) for k in range(len(y))]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _one(self, y: torch.Tensor, relu: bool) -> torch.Tensor:
        most = float(y.amax())
        if self._signed:
            most = max(most, -float(y.amin()))
        step = most / (MOST if self._signed else LEVELS) or 1.0
        result: torch.Tensor = torch.ops.onednn.qconv_pointwise(
            _rounded(y, step, self._zero),
            step,
            self._zero,
            self._packed,
            self._step,
            self._zeros,
            self._bias,
            [1, 1],
            [1, 1],
            [1, 1],
            1,
            1.0,
            0,
            y.dtype,
            "relu" if relu else "none",
            [],
            "",
        )
        return result


def _rounded(y: torch.Tensor, step: float, zero: int) -> torch.Tensor:
    """y / step + zero as the nearest bytes, channels last as y."""
    numbers = y.permute(0, 2, 3, 1).reshape(-1)
    found = torch.empty(numbers.shape, dtype=torch.uint8)
    offset = torch.tensor(zero, dtype=y.dtype)
    size = min(CHUNK, len(numbers))
    scaled, whole = y.new_empty(size), torch.empty(size, dtype=torch.int16)
    for start in range(0, len(numbers), CHUNK):
        part = numbers[start : start + CHUNK]
        of_part, rounded = scaled[: len(part)], whole[: len(part)]
        torch.add(offset, part, alpha=1 / step, out=of_part)
        # by way of 16 bits: straight to a byte torch takes six times as long
        found[start : start + CHUNK] = rounded.copy_(of_part.round_())
    batch, channels, height, width = y.shape
    return found.view(batch, height, width, channels).permute(0, 3, 1, 2)


@cache
def has_int8() -> bool:
    """Whether this torch convolves bytes, and this processor adds their products up exactly.

    Older ones add pairs of products in 16 bits, which do not hold the largest.
    """
    kernel, size = torch.ones(16, 64, 3, 3), 8
    y = torch.ones(1, 64, size, size).contiguous(memory_format=torch.channels_last)
    try:
        sums = [Int8Convolution(kernel, bias)(y) for bias in (torch.zeros(16), None)]
    except (AttributeError, RuntimeError):
        return False
    exact = float(kernel[0].sum())
    return all(bool((each[..., 1:-1, 1:-1] / exact - 1).abs().max() < 1e-3) for each in sums)
