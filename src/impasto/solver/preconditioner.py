"""A preconditioner in the frequency domain: coarse structures may move farther than fine ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

__all__ = ["SpectralPreconditioner", "without_weave"]

# The size of a transform is a multiple of this: with a large prime factor it takes four times as
# long.
FAST = 32
AT_ONCE = 1 << 24  # values of a picture that a GPU transforms with all its planes at once


class SpectralPreconditioner:
    """x -> F^-1 (|f|^-power F x): symmetric, positive, and of mean gain 1 over all frequencies f.

    Images have most of their energy in coarse structures (their amplitudes fall about as 1/|f|;
    Field 1987), and so does the difference between a photograph and its painting: as the first
    estimate of the inverse Hessian this reaches the same objective in fewer steps than a multiple
    of the identity does (docs/speed.md). f is in cycles per pixel; less than one cycle per image
    counts as one. x is padded with zeros for the transform, and cropped again.
    """

    def __init__(self, height: int, width: int, power: float, device: torch.device | str = "cpu"):
        self._size = [math.ceil(side / FAST) * FAST for side in (height, width)]
        down = torch.fft.fftfreq(self._size[0], device=device)[:, None]
        across = torch.fft.rfftfreq(self._size[1], device=device)
        frequency = (down.square() + across.square()).sqrt().clamp_min(1 / max(self._size))
        gain = frequency.pow(-power)
        self._gain = gain / gain.mean()  # (height, width // 2 + 1) of the padded size

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Filter x (..., height, width).

        Plane by plane, as a transform takes several times the memory of its input; at once where
        that is little and kernels are launched one by one, on a GPU.
        """
        height, width = x.shape[-2:]
        if x.device.type == "cuda" and x.numel() <= AT_ONCE:
            spectrum = torch.fft.rfft2(x, s=self._size) * self._gain
            filtered: torch.Tensor = torch.fft.irfft2(spectrum, s=self._size)
            return filtered[..., :height, :width].contiguous()
        y = torch.empty_like(x)
        with _one_thread():
            for plane, out in zip(x.flatten(0, -3), y.flatten(0, -3), strict=True):
                spectrum = torch.fft.rfft2(plane, s=self._size) * self._gain
                out.copy_(torch.fft.irfft2(spectrum, s=self._size)[:height, :width])
        return y


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on the CPU with one thread.

    The threads of MKL's transforms wait for each other at full load: on a processor that does
    other work besides, two of them took up to a hundred times as long as one.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def without_weave(x: torch.Tensor) -> torch.Tensor:
    """A gradient or picture (B, C, H, W) without the weave of two pixels, frequency 1/2 both ways.

    A network is nearly blind to it, so nothing would take it away once it is in the picture. The
    gain is 1 - (sin(pi f_down) sin(pi f_across))^8: 0 there, a half at 0.4, and 1 for all that
    varies in one direction.
    """
    weave = F.pad(x, (4, 4, 4, 4), mode="replicate")
    for _ in range(4):
        weave = _second_differences(_second_differences(weave, 2), 3)
    return x - weave / 16**4  # second differences have gain 4 there


def _second_differences(x: torch.Tensor, dim: int) -> torch.Tensor:
    """x_(k-1) - 2 x_k + x_(k+1): gain -4 sin^2(pi f). Ten times as fast as a convolution."""
    size = x.shape[dim] - 2
    return (x.narrow(dim, 0, size) + x.narrow(dim, 2, size)).sub_(x.narrow(dim, 1, size), alpha=2)
