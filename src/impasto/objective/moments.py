"""What of a layer's features is the style, as a distance of their moments: Gram, Wasserstein, mean
and deviation.

Each distance is a pure function of the mean (1, C) and the second moments (1, C, C) of the features
over positions, and of those of the style; it returns its value, (), and its gradients to the two,
written out. `mean` may be None where a distance does not ask for it (`NEEDS_MEAN`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch

__all__ = [
    "DISTANCES",
    "NEEDS_MEAN",
    "Moments",
    "Solved",
    "gram_distance",
    "moments_distance",
    "rooted",
    "sqrt_and_inverse",
    "wasserstein_distance",
]

# of a covariance's mean variance, added: features outnumber what a small picture can tell apart
RIDGE = 1e-4
# of the trace of second moments: more than the products of bfloat16 features are wrong by
ROUNDING = 2.0**-16
# of Newton and Schulz: each takes the smallest eigenvalue's root to 3/2 of it, until it is 1
ITERATIONS = 32
LEAST = 1e-5  # of a channel's mean square: below this deviation it counts as constant


class Moments(NamedTuple):
    """Mean (1, C), or None, and second moments (1, C, C) of features over positions, float32.

    root: of the covariance, where it is asked for again and again (`rooted`).
    """

    mean: torch.Tensor | None
    second: torch.Tensor
    root: torch.Tensor | None = None


Solved = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]
Distance = Callable[[Moments, Moments], Solved]


def gram_distance(x: Moments, target: Moments) -> Solved:
    """|G - A|^2 of two Gram matrices (Gatys et al. 2016, eq. 4, without its factor)."""
    difference = x.second - target.second
    return difference.square().sum(), None, 2 * difference


def moments_distance(x: Moments, target: Moments) -> Solved:
    """|m - m_t|^2 + |d - d_t|^2 of means and deviations by channel (Li et al. 2017, "Demystifying",
    eq. 12)."""
    (mean, second, _), (wanted, wanted_second, _) = x, target
    assert mean is not None
    assert wanted is not None
    deviation, wanted_deviation = _deviation(mean, second), _deviation(wanted, wanted_second)
    apart, wider = mean - wanted, deviation - wanted_deviation
    by_variance = wider / deviation
    value = apart.square().sum() + wider.square().sum()
    return value, 2 * (apart - by_variance * mean), torch.diag_embed(by_variance)


def _deviation(mean: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    squares = second.diagonal(dim1=-2, dim2=-1)
    floor = LEAST**2 * squares.mean().clamp_min(1e-30)
    return (squares - mean.square()).clamp_min(0).add(floor).sqrt()


def wasserstein_distance(x: Moments, target: Moments) -> Solved:
    """|m - m_t|^2 + tr(C + C_t - 2 (C_t^1/2 C C_t^1/2)^1/2): the squared Wasserstein-2 distance of
    two normal distributions (Olkin & Pukelsheim 1982), as crowsonkb/style-transfer-pytorch has it.

    Both covariances have a little of the target's mean variance added (`_ridged`). The gradient to
    C is 1 - C_t^1/2 T^-1 C_t^1/2 with T the root in the formula: the way back through the iteration
    is its own result.
    """
    target = target if target.root is not None else rooted(target)
    assert x.mean is not None
    assert target.mean is not None
    assert target.root is not None
    covariance, root = _ridged(x, target), target.root
    middle, inverse = sqrt_and_inverse(root @ covariance @ root)
    by_covariance = (_one(root) - root @ inverse @ root).to(x.second)
    traces = (covariance + _ridged(target, target) - 2 * middle).diagonal(dim1=-2, dim2=-1).sum()
    apart = x.mean - target.mean
    by_mean = 2 * apart - 2 * (by_covariance @ x.mean[..., None])[..., 0]
    return apart.square().sum() + traces.to(apart), by_mean, by_covariance


def rooted(target: Moments) -> Moments:
    """A style's moments with the root of its covariance, which is the same in every evaluation."""
    root, _ = sqrt_and_inverse(_ridged(target, target))
    return target._replace(root=root)


def _ridged(x: Moments, target: Moments) -> torch.Tensor:
    """The covariance of x with what keeps its eigenvalues above 0: RIDGE of the target's, and what
    rounding takes."""
    covariance = _covariance(x)
    ridge = RIDGE * _covariance(target).diagonal(dim1=-2, dim2=-1).mean().clamp_min(1e-30)
    if x.second.dtype == torch.float32:
        ridge = ridge + ROUNDING * x.second.diagonal(dim1=-2, dim2=-1).sum().to(ridge)
    return covariance + ridge * _one(covariance)


def _one(like: torch.Tensor) -> torch.Tensor:
    return torch.eye(like.shape[-1]).to(like)


def _covariance(x: Moments) -> torch.Tensor:
    """In float64 where there is: rounding in float32 is more than the smallest eigenvalues of a
    product of two."""
    assert x.mean is not None
    wide = torch.float32 if x.second.device.type == "mps" else torch.float64
    mean = x.mean.to(wide)
    return x.second.to(wide) - mean[..., :, None] * mean[..., None, :]


def sqrt_and_inverse(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Square root and its inverse of a symmetric positive (..., C, C), by matrix products alone:
    Newton and Schulz's coupled iteration (Higham 2008, "Functions of matrices", eq. 6.35), which a
    GPU is good at.
    """
    one = _one(matrix)
    size = matrix.square().sum((-2, -1), keepdim=True).sqrt().clamp_min(1e-30)
    y, z = matrix / size, one.expand_as(matrix)
    for _ in range(ITERATIONS):
        t = (3 * one - z @ y) / 2
        y, z = y @ t, t @ z
    return y * size.sqrt(), z / size.sqrt()


DISTANCES: dict[str, Distance] = {
    "gram": gram_distance,
    "wasserstein": wasserstein_distance,
    "moments": moments_distance,
}
NEEDS_MEAN = {"wasserstein", "moments"}
