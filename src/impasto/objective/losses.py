"""The formulas: content, Gram matrix, style, total variation. Pure functions, one formula each.

Sums run in the dtype of their inputs, except that features narrower than float32 are widened first.
"""

from __future__ import annotations

import math

import torch

__all__ = ["content_loss", "differences", "energy", "gram", "style_loss", "total_variation"]


def gram(features: torch.Tensor, divisor: str = "hw") -> torch.Tensor:
    """Gram matrix G_ij = sum_k F_ik F_jk / divisor; (B, C, H, W) -> (B, C, C), at least float32.

    Gatys et al. 2016, eq. 3, has no divisor ("none"). "hw": H*W, a mean over positions (Gatys's own code); "chw":
    C*H*W (neural-style and most of its descendants); "sqrt-chw": its root, so that a squared difference of two Gram
    matrices is divided by C*H*W (the number of values in the layer).
    """
    channels, height, width = features.shape[1:]
    f = _wide(features).flatten(2)  # (B, C, H*W)
    by = {
        "none": 1.0,
        "hw": height * width,
        "chw": channels * height * width,
        "sqrt-chw": math.sqrt(channels * height * width),
    }[divisor]
    return f @ f.mT / by


def content_loss(features: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Squared distance of two feature maps of one shape: its "mean", "sum" or "half-sum" (Gatys et al. 2016, eq. 1)."""
    return _reduce((_wide(features) - _wide(target)).square(), reduction)


def style_loss(gram_matrix: torch.Tensor, target: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """Squared distance of two Gram matrices: its "mean" or "sum".

    Gatys et al. 2016, eq. 4, is the sum with Grams divided by 2*C*H*W; "sum" with the divisor "chw" is 4 times that.
    """
    return _reduce((gram_matrix - target).square(), reduction)


def total_variation(pixels: torch.Tensor, form: str = "squared", reduction: str = "mean") -> torch.Tensor:
    """Differences of neighbouring pixels, "squared" or "absolute" (Rudin et al. 1992; anisotropic); (B, C, H, W) -> ().

    "sum" adds all of them; "mean" adds the mean over horizontal and the mean over vertical neighbours, so that it does
    not grow with the picture.
    """
    across = pixels[..., :, 1:] - pixels[..., :, :-1]
    down = pixels[..., 1:, :] - pixels[..., :-1, :]
    if form == "squared":
        return _reduce(across.square(), reduction) + _reduce(down.square(), reduction)
    return _reduce(across.abs(), reduction) + _reduce(down.abs(), reduction)


def differences(pixels: torch.Tensor) -> torch.Tensor:
    """Differences of neighbouring pixels across and down as channels; (B, C, H, W) -> (B, 2 C, H - 1, W - 1).

    Their Gram matrix is the grain of a picture: how rough it is, in which colours and which direction. It stands before
    the network's first layer, whose Gram matrix is mostly brightness and says little of the finest marks.
    """
    here = pixels[..., :-1, :-1]
    return torch.cat([pixels[..., :-1, 1:] - here, pixels[..., 1:, :-1] - here], 1)


def energy(target: torch.Tensor) -> torch.Tensor:
    """Sum of squares of a target, never 0: the unit in which the house form measures the distance to it."""
    return _wide(target).square().sum().clamp_min(torch.finfo(torch.float32).tiny * 1e8)


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _reduce(squares: torch.Tensor, reduction: str) -> torch.Tensor:
    if reduction == "mean":
        return squares.mean()
    return squares.sum() / 2 if reduction == "half-sum" else squares.sum()
