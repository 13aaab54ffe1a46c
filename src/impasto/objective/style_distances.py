"""Style as moments of a layer's features, and the distances of moments: Gram, Wasserstein, mean and
deviation.

Each distance is a pure function of the mean (1, C) and the second moments (1, C, C) of the features
over positions, and of those of the style; it returns its value, (), and its gradients to the two,
written out. The mean may be None where a distance does not need it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from impasto.backbone.parallel import alone

__all__ = [
    "Distance",
    "GrainTarget",
    "Moments",
    "Solved",
    "grain_distance",
    "grain_target",
    "gram_distance",
    "moments_distance",
    "pulled_back",
    "seen_through",
    "sqrt_and_inverse",
    "wasserstein_distance",
    "with_sqrt",
]

# Of a covariance's mean variance, added to its diagonal: a layer may have more channels than a
# small image has positions.
RIDGE = 1e-4
# Of the trace of the second moments: an upper bound of the rounding of products of bfloat16
# features.
ROUNDING = 2.0**-16
LEAST_ROOT = 1e-5  # least root of an eigenvalue that Newton and Schulz's iteration brings to 1
CONVERGED = 1 - 1e-4  # from here on each of its iterations squares the error
LEAST = 1e-5  # of a channel's root mean square: below this deviation it counts as constant
# Added to the variances of a grain: (one of 255 gray levels)^2, and this part of their mean. A flat
# style has no variance, and one of a single color none in the others.
GRAIN_FLOOR = 1 / 255**2
GRAIN_RIDGE = 0.01
TINY = 1e-30  # keeps a division by the size of an all-zero matrix finite


class Moments(NamedTuple):
    """Mean (1, C), or None, and second moments (1, C, C) of features over positions, float32.

    Of a style, computed once for many uses (`with_sqrt`): variance, (), the channels' mean; sqrt
    (1, C, C) and diagonal (1, C), of the covariance with its ridge.
    """

    mean: torch.Tensor | None
    second: torch.Tensor
    variance: torch.Tensor | None = None
    sqrt: torch.Tensor | None = None
    diagonal: torch.Tensor | None = None


class GrainTarget(NamedTuple):
    """A style's grain for `grain_distance`: W (1, n, n) and the floor, ()."""

    whitening: torch.Tensor
    floor: torch.Tensor


# A distance, (), and its gradients to the mean (None: it does not depend on it) and the second
# moments.
Solved = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]
Distance = Callable[[Moments, Moments], Solved]


def seen_through(x: Moments, metric: torch.Tensor) -> Moments:
    """The moments of R f from those of features f: R m and R S R^T; R (C', C)."""
    mean = None if x.mean is None else x.mean @ metric.mT
    return Moments(mean, metric @ x.second @ metric.mT)


def pulled_back(solved: Solved, metric: torch.Tensor) -> Solved:
    """A distance of the moments of R f with its gradients to those of f: R^T g and R^T G R."""
    value, by_mean, by_second = solved
    back = None if by_mean is None else by_mean @ metric
    return value, back, metric.mT @ by_second @ metric


def gram_distance(x: Moments, target: Moments) -> Solved:
    """|G - A|^2 of two Gram matrices (Gatys et al. 2016, eq. 4, without its factor)."""
    difference = x.second - target.second
    return difference.square().sum(), None, 2 * difference


def moments_distance(x: Moments, target: Moments) -> Solved:
    """|m - m_t|^2 + |d - d_t|^2 of the means and deviations of channels.

    Li et al. 2017, "Demystifying neural style transfer", eq. 12.
    """
    mean, second, target_mean, target_second = x.mean, x.second, target.mean, target.second
    assert mean is not None
    assert target_mean is not None
    deviation, target_deviation = _deviation(mean, second), _deviation(target_mean, target_second)
    mean_error, deviation_error = mean - target_mean, deviation - target_deviation
    by_variance = deviation_error / deviation
    value = mean_error.square().sum() + deviation_error.square().sum()
    return value, 2 * (mean_error - by_variance * mean), torch.diag_embed(by_variance)


def _deviation(mean: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Standard deviations of channels, never 0; (1, C), (1, C, C) -> (1, C)."""
    squares = second.diagonal(dim1=-2, dim2=-1)
    floor = LEAST**2 * squares.mean().clamp_min(TINY)
    return (squares - mean.square()).clamp_min(0).add(floor).sqrt()


def wasserstein_distance(x: Moments, target: Moments) -> Solved:
    """|m - m_t|^2 + tr(C + C_t - 2 (C_t^1/2 C C_t^1/2)^1/2) of means and covariances.

    The squared Wasserstein-2 distance of two normal distributions (Olkin & Pukelsheim 1982), as in
    crowsonkb/style-transfer-pytorch. Both covariances have a little of the target's mean variance
    added (`_ridged`). The gradient to C is 1 - C_t^1/2 T^-1 C_t^1/2 with T the root in the formula:
    it needs no way back through the iteration.
    """
    target = target if target.sqrt is not None else with_sqrt(target)
    assert x.mean is not None
    assert target.mean is not None
    assert target.variance is not None
    assert target.sqrt is not None
    assert target.diagonal is not None
    covariance, root = _ridged(x, target.variance), target.sqrt
    trace, transport = _root_trace_and_transport(root, covariance)
    by_covariance = _identity_like(x.second) - transport.to(x.second)
    traces = (covariance.diagonal(dim1=-2, dim2=-1) + target.diagonal).sum() - 2 * trace
    mean_error = x.mean - target.mean
    by_mean = 2 * mean_error - 2 * (by_covariance @ x.mean[..., None])[..., 0]
    return mean_error.square().sum() + traces.to(mean_error), by_mean, by_covariance


def _root_trace_and_transport(
    root: torch.Tensor, covariance: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """tr T, (), and C_t^1/2 T^-1 C_t^1/2, (1, C, C), with T = (C_t^1/2 C C_t^1/2)^1/2.

    On a CPU from the eigenvectors V and eigenvalues t^2 of T^2: the second is W W^T with
    W = C_t^1/2 V t^-1/2, so that no root and no inverse is made.
    """
    square = root @ covariance @ root
    if square.device.type != "cpu":
        middle, inverse = _newton_schulz(square)
        return middle.diagonal(dim1=-2, dim2=-1).sum(), root @ inverse @ root
    values, vectors = _eigh(square)
    roots = values.clamp_min(TINY).sqrt()
    half = root @ vectors / roots.sqrt()[..., None, :]
    return roots.sum(), half @ half.mT


def grain_target(second: torch.Tensor) -> GrainTarget:
    """Prepare the Gram matrix A (1, n, n) of a style's pixel differences for `grain_distance`."""
    wide = second.to(torch.float32 if second.device.type == "mps" else torch.float64)
    floor = GRAIN_FLOOR + GRAIN_RIDGE * wide.diagonal(dim1=-2, dim2=-1).mean()
    _, whitening = sqrt_and_inverse(wide + floor * _identity_like(wide))
    return GrainTarget(whitening, floor)


def grain_distance(second: torch.Tensor, target: GrainTarget) -> Solved:
    """|(W (G + floor) W)^1/2 - 1|^2 / n of the grains G and A (1, n, n), W = (A + floor)^-1/2.

    The squared Wasserstein distance of normal distributions with covariances G and A, in units of
    the style's own in every direction and color: else lightness would decide, and color could
    speckle. 1 is as far away as no grain at all. It has no mean.
    """
    whitening, floor = target
    identity, count = _identity_like(whitening), second.shape[-1]
    seen = whitening @ (second.to(whitening) + floor * identity) @ whitening
    root, inverse = sqrt_and_inverse(seen)
    by_second = whitening @ (identity - inverse) @ whitening / count
    value = (root - identity).square().sum() / count
    return value.to(second), None, by_second.to(second)


def with_sqrt(target: Moments) -> Moments:
    """A style's moments with all that `wasserstein_distance` asks of them in every evaluation."""
    variance = _covariance(target).diagonal(dim1=-2, dim2=-1).mean()
    covariance = _ridged(target, variance)
    root, _ = sqrt_and_inverse(covariance)
    diagonal = covariance.diagonal(dim1=-2, dim2=-1).clone()
    return target._replace(variance=variance, sqrt=root, diagonal=diagonal)


def _ridged(x: Moments, variance: torch.Tensor) -> torch.Tensor:
    """The covariance of x with a ridge that keeps its eigenvalues above 0; (1, C, C).

    The ridge is RIDGE of the target's mean `variance`, and the error of rounding.
    """
    covariance = _covariance(x)
    ridge = RIDGE * variance.clamp_min(TINY)
    if x.second.dtype == torch.float32:
        ridge = ridge + ROUNDING * x.second.diagonal(dim1=-2, dim2=-1).sum().to(ridge)
    covariance.diagonal(dim1=-2, dim2=-1).add_(ridge)
    return covariance


def _identity_like(matrix: torch.Tensor) -> torch.Tensor:
    """The identity (C, C) of the dtype and device of a matrix (..., C, C)."""
    return torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def _covariance(x: Moments) -> torch.Tensor:
    """Covariance (1, C, C), in float64 where the device has it.

    Rounding in float32 exceeds the smallest eigenvalues of a product of two covariances. It leaves
    the second moments a little askew; between roots of another covariance that, too, would exceed
    them, and an eigenvalue below 0 makes the gradient some 10^12 times too long.
    """
    assert x.mean is not None
    wide = torch.float32 if x.second.device.type == "mps" else torch.float64
    mean, second = x.mean.to(wide), x.second.to(wide)
    return (second + second.mT) / 2 - mean[..., :, None] * mean[..., None, :]


def sqrt_and_inverse(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Square roots of symmetric positive matrices (B, C, C), and the inverses of the roots.

    On a CPU from the eigenvectors, in a small part of the iteration's time. On other devices by
    matrix products alone, which suit them.
    """
    if matrix.device.type == "cpu":
        values, vectors = _eigh(matrix)
        roots = values.clamp_min(TINY).sqrt()[..., None, :]
        return (vectors * roots) @ vectors.mT, (vectors / roots) @ vectors.mT
    return _newton_schulz(matrix)


def _eigh(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues, ascending, and eigenvectors.

    On one thread: LAPACK's many small steps wait for each other longer than they compute, most of
    all beside other work.
    """
    values, vectors = alone(lambda: torch.linalg.eigh(matrix))
    return values, vectors


def _newton_schulz(matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`sqrt_and_inverse` by matrix products alone.

    Newton and Schulz's coupled iteration (Higham 2008, "Functions of matrices", eq. 6.35), with
    each matrix scaled so that the smallest eigenvalues grow fastest (Chen & Chow 2014, "A stable
    scaling of Newton-Schulz for improving the sign function computation of a Hermitian matrix").
    """
    three = 3 * _identity_like(matrix)
    size = matrix.square().sum((-2, -1), keepdim=True).sqrt().clamp_min(TINY)
    # An iteration with scale a is Y T and T Z with T = (3 a - a^3 Z Y) / 2. y = a Y and z = a Z are
    # kept, so that T = a (3 - z y) / 2 costs one pass, and the product is scaled on its way.
    first = SCALES[0]
    y, z = matrix * (first / size), (first / 3 * three).expand_as(matrix)
    for scale in (*SCALES[1:], 1.0):
        t = three - z @ y
        y, z = (torch.baddbmm(y, *pair, beta=0, alpha=scale / 2) for pair in ((y, t), (t, z)))
    return y * size.sqrt(), z / size.sqrt()


def _scales(least: float) -> Iterator[float]:
    """The scales of an iteration that takes all numbers from `least` to 1 to 1."""
    while least < CONVERGED:
        scale = math.sqrt(3 / (1 + least + least**2))
        yield scale
        least = scale * least * (3 - (scale * least) ** 2) / 2
    yield from (1.0, 1.0)


SCALES = tuple(_scales(LEAST_ROOT))
