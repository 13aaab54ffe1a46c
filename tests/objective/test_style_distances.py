"""The distances of moments: known values, and gradients against differences in float64."""

import pytest
import torch

from impasto.objective import style_distances as statistics
from impasto.objective.losses import second_moment_sum
from impasto.objective.style_distances import (
    Moments,
    grain_distance,
    grain_target,
    sqrt_and_inverse,
)
from impasto.objective.style_terms import STYLE_TERMS, MomentTerm

DISTANCES = {
    name: term.distance for name, term in STYLE_TERMS.items() if isinstance(term, MomentTerm)
}


def moments(features):
    """Of features (n, C), over positions."""
    return Moments(features.mean(0)[None], (features.T @ features / len(features))[None])


def features(seed, count=300, channels=5):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(count, channels, generator=generator, dtype=torch.float64)
    return (
        mixed @ torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    ).relu()


@pytest.mark.parametrize("term", DISTANCES)
def test_the_gradient_to_features_is_that_of_autograd(term):
    x, target = features(1).requires_grad_(), moments(features(2))
    value, by_mean, by_second = DISTANCES[term](moments(x), target)
    (expected,) = torch.autograd.grad(value, x)
    found = 2 * x.detach() @ by_second[0].detach() / len(x)
    if by_mean is not None:
        found += by_mean.detach() / len(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("term", DISTANCES)
def test_a_distance_is_nothing_from_itself_and_something_from_others(term):
    here, there = moments(features(1)), moments(features(2))
    itself, elsewhere = (float(DISTANCES[term](here, each)[0]) for each in (here, there))
    assert abs(itself) < 1e-6 * elsewhere


def test_the_gradient_of_a_grain_is_that_of_autograd():
    x, target = features(1).requires_grad_(), grain_target(moments(features(2)).second)
    value, mean, by_second = grain_distance((x.T @ x / len(x))[None], target)
    (expected,) = torch.autograd.grad(value, x)
    assert mean is None
    found = 2 * x.detach() @ by_second[0].detach() / len(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-9)


def test_grains_are_compared_in_units_of_the_styles_own():
    # independent colors: the mean over them of (root of the ratio of variances - 1)^2
    variances = torch.tensor([0.04, 0.01, 1e-3], dtype=torch.float64)
    floor = 1 / 255**2 + 0.01 * float(variances.mean())
    target = grain_target(torch.diag(variances)[None])
    for factors in ([1.0, 1, 1], [4.0, 1, 1], [1.0, 4, 1], [1.0, 1, 0.25], [9.0, 4, 1], [0, 0, 0]):
        factor = torch.tensor(factors, dtype=torch.float64)
        ratios = (variances * factor + floor) / (variances + floor)
        expected = float((ratios.sqrt() - 1).square().mean())
        value = float(grain_distance(torch.diag(variances * factor)[None], target)[0])
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-12), factors


def test_a_flat_style_asks_for_no_grain():
    flat, level = torch.zeros(1, 3, 3, dtype=torch.float64), 1 / 255**2
    rough = torch.eye(3, dtype=torch.float64)[None] * 4 * level
    value, _, by_second = grain_distance(rough, grain_target(flat))
    assert float(value) == pytest.approx((5**0.5 - 1) ** 2)
    assert (by_second.diagonal(dim1=1, dim2=2) > 0).all()


def test_two_gram_matrices_one_apart():
    one = torch.eye(2)[None]
    value, mean, second = statistics.gram_distance(Moments(None, one), Moments(None, 2 * one))
    assert float(value) == 2
    assert mean is None
    assert torch.equal(second, -2 * one)


def test_moments_count_means_and_deviations():
    # deviations 1, 2
    here = Moments(torch.tensor([[1.0, 0.0]]), torch.diag_embed(torch.tensor([[2.0, 4.0]])))
    # deviations 3, 1
    there = Moments(torch.tensor([[3.0, 0.0]]), torch.diag_embed(torch.tensor([[18.0, 1.0]])))
    assert float(statistics.moments_distance(here, there)[0]) == pytest.approx(4 + 4 + 1, rel=1e-4)


def test_wasserstein_of_normal_distributions_is_what_it_is_known_to_be(monkeypatch):
    monkeypatch.setattr(statistics, "RIDGE", 0.0)
    # commuting covariances: the squared distance of the means plus that of the deviations (Olkin &
    # Pukelsheim 1982)
    here = Moments(torch.tensor([[1.0, 2.0]]), torch.diag_embed(torch.tensor([[1.0 + 4, 4.0 + 9]])))
    here = here._replace(second=here.second + torch.tensor([[[0.0, 2.0], [2.0, 0.0]]]))
    there = Moments(torch.zeros(1, 2), torch.diag_embed(torch.tensor([[1.0, 1.0]])))
    value = float(statistics.wasserstein_distance(here, there)[0])
    assert value == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 1) ** 2, rel=1e-4)


def test_wasserstein_is_that_of_eigenvalues():
    (mean, second, *_), (wanted, wanted_second, *_) = moments(features(1)), moments(features(2))
    covariance, other = (b[0] - a.T @ a for a, b in ((mean, second), (wanted, wanted_second)))
    ridge = statistics.RIDGE * other.diagonal().mean() * torch.eye(5)
    covariance, other = covariance + ridge, other + ridge

    def root(matrix):
        values, vectors = torch.linalg.eigh(matrix)
        return vectors @ torch.diag(values.sqrt()) @ vectors.T

    middle = root(root(other) @ covariance @ root(other))
    expected = (mean - wanted).square().sum() + (covariance + other - 2 * middle).trace()
    found = statistics.wasserstein_distance(Moments(mean, second), Moments(wanted, wanted_second))[
        0
    ]
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("channels", [1, 3, 64, 256])
def test_newton_and_schulz_find_root_and_inverse(channels):
    x = features(3, 400, channels)
    matrix = (x.T @ x / len(x))[None]
    matrix += statistics.RIDGE * matrix[0].diagonal().mean() * torch.eye(channels)
    root, inverse = sqrt_and_inverse(matrix)
    torch.testing.assert_close(root @ root, matrix, rtol=1e-4, atol=1e-4 * float(matrix.max()))
    torch.testing.assert_close(
        root @ inverse, torch.eye(channels, dtype=x.dtype)[None], rtol=0, atol=1e-3
    )


def test_a_constant_channel_is_no_trouble():
    still = Moments(torch.zeros(1, 3), torch.zeros(1, 3, 3))
    there = moments(features(2, channels=3).float())
    trace = there.second[0].trace()
    known = {"gram": there.second.square().sum(), "moments": trace, "wasserstein": trace}
    for name, distance in DISTANCES.items():
        for solved in (distance(still, there), distance(there, still)):
            assert all(torch.isfinite(each).all() for each in solved if each is not None)
            # the distance from features that are 0 everywhere
            torch.testing.assert_close(solved[0], known[name], rtol=0.05, atol=0)


def test_what_a_style_hardly_has_does_not_break_the_root():
    # as the sample `glass` did: most of its variance in a few channels, and a content with all of
    # it elsewhere
    there = torch.diag_embed(torch.logspace(4, -6, 96, dtype=torch.float64)[None])
    here = torch.diag_embed(torch.logspace(-6, 6, 96, dtype=torch.float64)[None])
    none = torch.zeros(1, 96, dtype=torch.float64)
    found = statistics.wasserstein_distance(Moments(none, here), Moments(none, there))
    assert all(torch.isfinite(each).all() for each in found)
    ridge = statistics.RIDGE * there[0].diagonal().mean()
    expected = (
        ((here[0].diagonal() + ridge).sqrt() - (there[0].diagonal() + ridge).sqrt()).square().sum()
    )
    torch.testing.assert_close(found[0], expected, rtol=1e-3, atol=0)


def test_moments_that_rounding_left_askew_do_not_break_the_root():
    # a metric multiplies in float32 (style_terms.py): what comes out is not quite symmetric. With
    # few positions most eigenvalues are 0, and the lower half of a root's square had some below 0
    styles, x = (features(seed, 300, 192).float() for seed in (1, 2))
    target = statistics.with_sqrt(moments(styles[:40]))
    mean, second, *_ = moments(x[:40])
    noise = torch.randn(192, 192, generator=torch.Generator().manual_seed(3)).triu(1)
    askew = 3e-6 * second.abs().max() * noise
    _, _, expected = DISTANCES["wasserstein"](Moments(mean, second), target)
    _, _, found = DISTANCES["wasserstein"](Moments(mean, second + askew - askew.mT), target)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("large", [1, 1e3])
def test_fewer_positions_than_channels_in_bfloat16_are_no_trouble(large):
    # relu5_1 of a small level: 48 positions of 128 channels, products rounded, a mean far from 0
    generator = torch.Generator().manual_seed(0)

    def few(scale):
        f = (torch.randn(1, 128, 6, 8, generator=generator) + 1).relu().mul(scale).bfloat16()
        return Moments(f.float().mean((2, 3)), second_moment_sum(f) / 48)

    here, there = few(large), few(1)
    found = statistics.wasserstein_distance(here, there)
    assert all(torch.isfinite(each).all() for each in found)
    # no farther than twice the sum of both from 0, no nearer than the means
    size = sum(float(each.second[0].trace()) for each in (here, there))
    means = float((here.mean - there.mean).square().sum())
    assert 0.99 * means < float(found[0]) < 2 * size
