"""The formulas: content, Gram matrix, style, total variation. Pure functions, one formula each.

`products`, `squared_distance` and `roughness` are sums over positions: those of the parts of a
picture add up to those of the whole, on which exact tiling rests. The losses of whole pictures are
the reference: `terms.py` has them as they are summed over tiles, with their gradients, and tests
hold the two together. Sums run in the dtype of their inputs, except that features narrower than
float32 are widened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = [
    "content_loss",
    "differences",
    "energy",
    "gram",
    "gram_divisor",
    "products",
    "reduction_factor",
    "roughness",
    "squared_distance",
    "style_loss",
    "total_variation",
]

BLOCK = 16384  # positions that one product of bfloat16 features adds up


def products(features: torch.Tensor) -> torch.Tensor:
    """Sums over positions P_ij = sum_k F_ik F_jk; (B, C, H, W) -> (B, C, C), at least float32."""
    f = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H*W, C), no copy where channels come last
    return f.mT @ f if f.dtype == _wide_dtype(f) else _wide_products(f)


def gram_divisor(name: str, shape: Sequence[int]) -> float:
    """What a Gram matrix of features of `shape` (..., C, H, W) is divided by; see `gram`."""
    channels, height, width = shape[-3:]
    return {
        "none": 1.0,
        "hw": height * width,
        "chw": channels * height * width,
        "sqrt-chw": math.sqrt(channels * height * width),
    }[name]


def gram(features: torch.Tensor, divisor: str = "hw") -> torch.Tensor:
    """Gram matrix G_ij = sum_k F_ik F_jk / divisor; (B, C, H, W) -> (B, C, C), at least float32.

    Gatys et al. 2016, eq. 3, has no divisor ("none"). "hw": H*W, a mean over positions (Gatys's own
    code); "chw": C*H*W (neural-style and most of its descendants); "sqrt-chw": its root, so that a
    squared difference of two Gram matrices is divided by C*H*W (the number of values in the layer).
    """
    return products(features) / gram_divisor(divisor, features.shape)


def _wide_products(f: torch.Tensor) -> torch.Tensor:
    """f^T f of (B, K, C) in bfloat16, to float32's last few bits.

    The hardware adds up in float32 but returns bfloat16: P, within 2^-9. The same product less P,
    which it takes off before it rounds, returns what was lost; the two together hold some 17 bits.
    Several blocks of positions are faster than one long sum.
    """
    blocks = max(1, f.shape[1] // BLOCK)
    whole = blocks * (f.shape[1] // blocks)
    parts = f[:, :whole].reshape(len(f) * blocks, whole // blocks, f.shape[2])
    total = _twice(parts).view(len(f), blocks, f.shape[2], f.shape[2]).sum(1)
    return total + _twice(f[:, whole:]) if whole < f.shape[1] else total


def _twice(f: torch.Tensor) -> torch.Tensor:
    product = torch.bmm(f.mT, f)
    return product.float() + torch.baddbmm(product, f.mT, f, beta=-1).float()


def squared_distance(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Sum of squared differences of two feature maps of one shape; () at least float32."""
    return (_wide(features) - _wide(target)).square().sum()


def reduction_factor(reduction: str, count: int) -> float:
    """What turns a sum over `count` values into its "mean", "sum" or "half-sum"."""
    return {"mean": 1 / count, "sum": 1.0, "half-sum": 0.5}[reduction]


def content_loss(
    features: torch.Tensor, target: torch.Tensor, reduction: str = "mean"
) -> torch.Tensor:
    """Squared distance of two feature maps of one shape: its "mean", "sum" or "half-sum" (Gatys et
    al. 2016, eq. 1)."""
    return squared_distance(features, target) * reduction_factor(reduction, features.numel())


def style_loss(
    gram_matrix: torch.Tensor, target: torch.Tensor, reduction: str = "mean"
) -> torch.Tensor:
    """Squared distance of two Gram matrices: its "mean" or "sum".

    Gatys et al. 2016, eq. 4, is the sum with Grams divided by 2*C*H*W; "sum" with the divisor "chw"
    is 4 times that.
    """
    return squared_distance(gram_matrix, target) * reduction_factor(reduction, target.numel())


def roughness(across: torch.Tensor, down: torch.Tensor, form: str = "squared") -> torch.Tensor:
    """Sums of the "squared" or "absolute" differences of neighbouring pixels, across and down;
    (2,)."""
    if form == "squared":
        return torch.stack([across.square().sum(), down.square().sum()])
    return torch.stack([across.abs().sum(), down.abs().sum()])


def total_variation(
    pixels: torch.Tensor, form: str = "squared", reduction: str = "mean"
) -> torch.Tensor:
    """Differences of neighbouring pixels, "squared" or "absolute" (Rudin et al. 1992; anisotropic);
    (B, C, H, W) -> ().

    "sum" adds all of them; "mean" adds the mean over horizontal and the mean over vertical
    neighbours, so that it does not grow with the picture.
    """
    across, down = (
        pixels[..., :, 1:] - pixels[..., :, :-1],
        pixels[..., 1:, :] - pixels[..., :-1, :],
    )
    of_across, of_down = (reduction_factor(reduction, each.numel()) for each in (across, down))
    sums = roughness(across, down, form)
    return sums[0] * of_across + sums[1] * of_down


def differences(pixels: torch.Tensor) -> torch.Tensor:
    """Differences of neighbouring pixels across and down as channels; (B, C, H, W) -> (B, 2 C, H -
    1, W - 1).

    Their Gram matrix is the grain of a picture: how rough it is, in which colours and which
    direction. It stands before the network's first layer, whose Gram matrix is mostly brightness
    and says little of the finest marks.
    """
    here = pixels[..., :-1, :-1]
    return torch.cat([pixels[..., :-1, 1:] - here, pixels[..., 1:, :-1] - here], 1)


def energy(target: torch.Tensor) -> torch.Tensor:
    """Sum of squares of a target, never 0: the unit in which the energy-normalized form measures
    the distance to it."""
    return _wide(target).square().sum().clamp_min(torch.finfo(torch.float32).tiny * 1e8)


def _wide(x: torch.Tensor) -> torch.Tensor:
    return x.to(_wide_dtype(x))


def _wide_dtype(x: torch.Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype
