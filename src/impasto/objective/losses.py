"""The formulas: content, Gram matrix, style, total variation. One pure function each.

`second_moment_sum`, `squared_distance` and `difference_sums` are sums over positions: those of the
parts of an image add up to those of the whole, which makes exact tiling possible. The losses of
whole images are the reference: `terms.py` sums them over tiles, with their gradients, and tests
hold the two together. Sums run in the dtype of their inputs, except that features narrower than
float32 are accumulated in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = [
    "content_loss",
    "difference_sums",
    "differences",
    "energy",
    "gram",
    "gram_divisor",
    "layer_factor",
    "position_sum",
    "product_in_blocks",
    "reduction_factor",
    "row_blocks",
    "second_moment_sum",
    "squared_distance",
    "style_loss",
    "total_variation",
]

BLOCK = 16384  # positions that one product adds up


def second_moment_sum(features: torch.Tensor) -> torch.Tensor:
    """Sums over positions P_ij = sum_k F_ik F_jk; (B, C, H, W) -> (B, C, C), at least float32."""
    rows = features.permute(0, 2, 3, 1)  # (B, H, W, C)
    if features.device.type == "cuda" or features.dtype != _accumulation_dtype(features):
        f = rows.flatten(1, 2)  # (B, H*W, C), no copy where channels come last
        return product_in_blocks(f, f)  # a GPU is slow at one long sum
    blocks = (part.flatten(1, 2) for part in row_blocks(rows))  # copies of a part, not of the whole
    first = next(blocks)
    return sum((f.mT @ f for f in blocks), first.mT @ first)


def row_blocks(rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Cut rows of positions (..., H, W, C) into blocks of about BLOCK positions."""
    return torch.split(rows, max(1, BLOCK // max(1, rows.shape[-2])), dim=-3)


def position_sum(features: torch.Tensor) -> torch.Tensor:
    """Sums over positions; (B, C, H, W) -> (B, C), at least float32."""
    wide = _accumulation_dtype(features)
    # one sum over both is slow: on a CPU up to twenty times, in float32 with channels last
    if features.device.type == "cuda":
        return features.sum(2, dtype=wide).sum(2)
    rows = features.permute(0, 2, 3, 1)  # (B, H, W, C): sums come out with channels last, too
    return rows.sum(2, dtype=wide).sum(1)


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
    return second_moment_sum(features) / gram_divisor(divisor, features.shape)


def product_in_blocks(f: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Sums over positions f^T g of (B, K, C) and (B, K, D); (B, C, D), at least float32.

    Several blocks of positions are faster than one long sum.
    """
    blocks = max(1, f.shape[1] // BLOCK)
    whole = blocks * (f.shape[1] // blocks)
    by_block = [x[:, :whole].reshape(len(x) * blocks, whole // blocks, x.shape[2]) for x in (f, g)]
    # (B * blocks, C, D) -> (B, C, D)
    total = _wide_product(*by_block).view(len(f), blocks, f.shape[2], g.shape[2]).sum(1)
    return total + _wide_product(f[:, whole:], g[:, whole:]) if whole < f.shape[1] else total


def _wide_product(f: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """f^T g of (B, K, C) and (B, K, D), of bfloat16 to some 17 bits; (B, C, D), at least
    float32."""
    if f.dtype == _accumulation_dtype(f):
        return torch.bmm(f.mT, g)
    if f.device.type == "cuda" and torch.__version__ >= "2.8":
        wide: torch.Tensor = torch.bmm(f.mT, g, out_dtype=torch.float32)
        return wide
    # The hardware accumulates in float32 but returns bfloat16: P, within 2^-9. The same product
    # less P, which is subtracted before it rounds, returns what was lost.
    product = torch.bmm(f.mT, g)
    return product.float() + torch.baddbmm(product, f.mT, g, beta=-1).float()


def squared_distance(features: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Sum of squared differences of two feature maps of one shape; (), at least float32."""
    return (_upcast(features) - _upcast(target)).square().sum()


def reduction_factor(reduction: str, count: int) -> float:
    """What turns a sum over `count` values into its "mean", "sum" or "half-sum"."""
    return {"mean": 1 / count, "sum": 1.0, "half-sum": 0.5}[reduction]


def content_loss(
    features: torch.Tensor, target: torch.Tensor, reduction: str = "mean"
) -> torch.Tensor:
    """Squared distance of two feature maps of one shape; ().

    Gatys et al. 2016, eq. 1, is the reduction "half-sum"; "mean" and "sum" are the other two.
    """
    return squared_distance(features, target) * reduction_factor(reduction, features.numel())


def style_loss(
    gram_matrix: torch.Tensor, target: torch.Tensor, reduction: str = "mean"
) -> torch.Tensor:
    """Squared distance of two Gram matrices, as "mean" or "sum"; ().

    Gatys et al. 2016, eq. 4, is the sum with Gram matrices divided by 2*C*H*W; "sum" with the
    divisor "chw" is 4 times that.
    """
    return squared_distance(gram_matrix, target) * reduction_factor(reduction, target.numel())


def difference_sums(
    across: torch.Tensor, down: torch.Tensor, form: str = "squared"
) -> torch.Tensor:
    """Sums of "squared" or "absolute" differences of neighboring pixels, across and down; (2,)."""
    if form == "squared":
        return torch.stack([across.square().sum(), down.square().sum()])
    return torch.stack([across.abs().sum(), down.abs().sum()])


def total_variation(
    pixels: torch.Tensor, form: str = "squared", reduction: str = "mean"
) -> torch.Tensor:
    """Differences of neighboring pixels, "squared" or "absolute"; (B, C, H, W) -> ().

    Anisotropic total variation (Rudin et al. 1992). "sum" adds all differences; "mean" adds the
    mean over horizontal and the mean over vertical neighbors, so that it does not grow with the
    image.
    """
    across = pixels[..., :, 1:] - pixels[..., :, :-1]
    down = pixels[..., 1:, :] - pixels[..., :-1, :]
    sums = difference_sums(across, down, form)
    factor_across = reduction_factor(reduction, across.numel())
    factor_down = reduction_factor(reduction, down.numel())
    return sums[0] * factor_across + sums[1] * factor_down


def differences(pixels: torch.Tensor) -> torch.Tensor:
    """Differences of neighboring pixels as channels; (B, C, H, W) -> (B, 3 C, H - 1, W - 1).

    First those across, then those down, then the differences of differences: a weave of two pixels
    is nothing else. Their Gram matrix is the grain of an image: how rough it is, in which colors
    and which direction. It precedes the network's first layer, whose Gram matrix is mostly
    brightness and says little of the finest marks.
    """
    here, beside = pixels[..., :-1, :-1], pixels[..., :-1, 1:]
    below, across_below = pixels[..., 1:, :-1], pixels[..., 1:, 1:]
    return torch.cat([beside - here, below - here, across_below - below - beside + here], 1)


def energy(target: torch.Tensor) -> torch.Tensor:
    """Sum of squares of a target, never 0; ().

    The energy-normalized form measures the distance to a target in units of it.
    """
    return _upcast(target).square().sum().clamp_min(torch.finfo(torch.float32).tiny * 1e8)


def _upcast(x: torch.Tensor) -> torch.Tensor:
    return x.to(_accumulation_dtype(x))


def _accumulation_dtype(x: torch.Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in (torch.bfloat16, torch.float16) else x.dtype


def layer_factor(positions: int, channels: int) -> float:
    """Return what a style layer weighs for the number of its positions: min(1, N / C)^2.

    Moments of C channels over N < C positions are met only by positions that are the style's own:
    its largest things would be laid over the photograph.
    """
    return min(1.0, positions / channels) ** 2
