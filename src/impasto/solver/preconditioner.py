"""A picture's spectrum as a preconditioner: coarse forms may move farther than fine ones."""

from __future__ import annotations

import math

import torch

__all__ = ["SpectralPreconditioner"]

# a transform's size is a multiple of this: of a large prime factor it would take four times as long
FAST = 32


class SpectralPreconditioner:
    """x -> F^-1 (|f|^-power F x): symmetric, positive, and of mean gain 1 over all frequencies f.

    Pictures have most of their energy in coarse forms (their amplitudes fall about as 1/|f|; Field
    1987), and so has what changes between a photograph and its painting: as the first guess of the
    inverse Hessian this reaches the same objective in fewer steps than a multiple of the identity
    does (docs/speed.md). f is in cycles a pixel; less than one cycle a picture counts as one. x is
    framed with zeros for the transform, and cut out again.
    """

    def __init__(self, height: int, width: int, power: float, device: torch.device | str = "cpu"):
        self._size = [math.ceil(side / FAST) * FAST for side in (height, width)]
        down = torch.fft.fftfreq(self._size[0], device=device)[:, None]
        across = torch.fft.rfftfreq(self._size[1], device=device)
        frequency = (down.square() + across.square()).sqrt().clamp_min(1 / max(self._size))
        gain = frequency.pow(-power)
        self._gain = gain / gain.mean()  # (height, width // 2 + 1), of the framed size

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x (..., height, width) filtered, plane by plane: a transform takes several times its
        memory."""
        height, width = x.shape[-2:]
        y = torch.empty_like(x)
        for plane, out in zip(x.flatten(0, -3), y.flatten(0, -3), strict=True):
            found = torch.fft.irfft2(
                torch.fft.rfft2(plane, s=self._size) * self._gain, s=self._size
            )
            out.copy_(found[:height, :width])
        return y
