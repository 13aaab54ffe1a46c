"""3 x 3 convolution in 8-bit integers, for processors that multiply four of them at once (VNNI).

Features and gradients are rounded to 255 levels between 0, or minus the largest, and the largest
number of the picture, the kernel to 255 levels for each channel that comes out. Products and sums
are exact integers, and the result is a floating-point number again.

Rounding is as often up as down: the gradient, a sum over all positions, leads L-BFGS down as fast
as the exact one (docs/speed.md, benchmarks/rounding.py).
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F

__all__ = ["Int8Convolution", "has_int8"]

LEVELS = 255  # of a byte, above 0
ZERO = 128  # the byte that stands for 0 where there are numbers below it
MOST = 127  # levels on either side of it, and of a kernel
LEAST = 1e-30  # numbers below it are nothing: their levels would be too close for float32
# Channels in and out, height and width of the convolutions that a processor is tried with.
TRIED = ((64, 32, 8, 8), (48, 128, 5, 9), (256, 96, 16, 17))
CHUNK = 1 << 20  # numbers that are rounded at a time, in a core's cache
# From here to twice this a float32 holds whole numbers only: a small number added to it is rounded
# to the nearest, whose byte is the lowest of the sum's own.
SHIFT = torch.tensor(2.0**23)


class Int8Convolution:
    """A 3 x 3 convolution with fixed numbers and padding 1, on a CPU, of features or a gradient."""

    def __init__(self, kernel: torch.Tensor, bias: torch.Tensor | None):
        """kernel (O, I, 3, 3), bias (O,), float32. Without a bias it is of a gradient: its input
        may be below 0."""
        self._zero = ZERO if bias is None else 0
        self._step = (kernel.abs().amax((1, 2, 3)) / MOST).clamp_min(torch.finfo().tiny)
        rounded = (kernel / self._step[:, None, None, None]).round().to(torch.int8)
        self._zeros = torch.zeros(len(kernel), dtype=torch.int64)
        self._bias = torch.zeros(len(kernel)) if bias is None else bias
        # what bytes that stand for 0 add to a sum, in steps of the input: oneDNN would find it out
        # anew at every call
        self._of_zeros = self._zero * self._step * rounded.sum((1, 2, 3))
        self._packed = torch.ops.onednn.qconv_prepack(
            rounded, self._step, 1.0, 0, [1, 1], [0, 0], [1, 1], 1, None
        )

    def __call__(self, y: torch.Tensor, *, relu: bool = False) -> torch.Tensor:
        """(B, I, H, W) channels last -> (B, O, H, W) of the same dtype, after ReLU if `relu`."""
        # each picture has steps of its own: it is the same alone and among others
        found = [self._one(y[k : k + 1], relu) for k in range(len(y))]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _one(self, y: torch.Tensor, relu: bool) -> torch.Tensor:
        pixels = y[0].permute(1, 2, 0)
        most = _largest(pixels.reshape(-1))
        # not a number is not below anything, and stays what it is
        step = 1.0 if most < LEAST else most / (MOST if self._zero else LEVELS)
        result: torch.Tensor = torch.ops.onednn.qconv2d_pointwise(
            _padded_bytes(pixels, step, self._zero),
            step,
            0,
            self._packed,
            self._step,
            self._zeros,
            self._bias - step * self._of_zeros,
            [1, 1],
            [0, 0],
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


def _largest(numbers: torch.Tensor) -> float:
    """The largest magnitude of (N,) numbers; not a number, if there is such a one.

    Without their signs their bits are integers in the same order, and torch compares these several
    times as fast as bfloat16.
    """
    of_bits = {torch.float32: torch.int32, torch.bfloat16: torch.int16}[numbers.dtype]
    without_sign = torch.iinfo(of_bits).max
    bits = torch.empty(min(CHUNK, len(numbers)), dtype=of_bits)
    largest = bits.new_zeros(())
    for part in torch.split(numbers.view(of_bits), CHUNK):
        rest = torch.bitwise_and(part, without_sign, out=bits[: len(part)])
        largest = torch.maximum(largest, rest.amax())
    return float(largest.view(numbers.dtype))


def _padded_bytes(pixels: torch.Tensor, step: float, zero: int) -> torch.Tensor:
    """pixels / step + zero as the nearest bytes, (H, W, C) to (1, C, H + 2, W + 2) channels last.

    The frame is `zero`.
    """
    height, width, channels = pixels.shape
    padded = torch.empty(height + 2, width + 2, channels, dtype=torch.uint8)
    padded[0] = padded[-1] = zero
    padded[:, 0] = padded[:, -1] = zero
    rows = min(height, max(1, CHUNK // (width * channels)))
    scaled = torch.empty(rows, width, channels)
    for top in range(0, height, rows):
        part = pixels[top : top + rows]
        of_part = scaled[: len(part)]
        if part.dtype != scaled.dtype:
            part = of_part.copy_(part)
        torch.add(SHIFT + zero, part, alpha=1 / step, out=of_part)
        padded[1 + top : 1 + top + len(part), 1:-1] = of_part.view(torch.int32)  # its low byte
    return padded.permute(2, 0, 1)[None]


@cache
def has_int8() -> bool:
    """Whether this torch convolves bytes, and this processor adds their products up exactly.

    Older ones add pairs of products in 16 bits, which do not hold the largest.
    """
    try:
        return all(_is_right(*shape) for shape in TRIED)
    except (AttributeError, RuntimeError):
        return False


def _is_right(inward: int, outward: int, height: int, width: int) -> bool:
    """Whether convolutions of the largest numbers, of either sign, are those of exact numbers."""
    generator = torch.Generator().manual_seed(0)
    kernel, y = (
        1.0 - 2 * (torch.rand(shape, generator=generator) < 0.1).float()
        for shape in ((outward, inward, 3, 3), (1, inward, height, width))
    )
    y = y.contiguous(memory_format=torch.channels_last)
    for features, bias in ((y.relu(), torch.zeros(outward)), (y, None)):
        found = Int8Convolution(kernel, bias)(features)
        exact = F.conv2d(features, kernel, padding=1)
        if not (found - exact).abs().max() < 1e-3 * exact.abs().max():
            return False
    return True
