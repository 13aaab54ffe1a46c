"""The preconditioner: symmetric, positive, coarse before fine, and worth it."""

import pytest
import torch

from configs import gram_config
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load
from impasto.images.read import read, resize
from impasto.images.samples import sample_portrait, sample_style
from impasto.objective.objective import Objective
from impasto.painting.problem import prepare_problem, regions_at
from impasto.solver.lbfgs import LBFGS
from impasto.solver.preconditioner import SpectralPreconditioner, without_weave

SIZES = [(32, 64), (37, 53), (33, 31), (1, 40)]


def picture(size: tuple[int, int], seed: int) -> torch.Tensor:
    return torch.randn(
        1, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("power", [0.5, 1.0])
def test_it_is_symmetric_and_positive(size: tuple[int, int], power: float) -> None:
    p, a, b = SpectralPreconditioner(*size, power), picture(size, 1), picture(size, 2)
    assert float((a * p(b)).sum()) == pytest.approx(float((b * p(a)).sum()), rel=1e-6)
    assert float((a * p(a)).sum()) > 0


@pytest.mark.parametrize("size", SIZES)
def test_power_0_changes_nothing(size: tuple[int, int]) -> None:
    x = picture(size, 1)
    torch.testing.assert_close(SpectralPreconditioner(*size, 0.0)(x), x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(32, 64), (37, 53)])
def test_a_gradient_loses_its_weave_and_little_else(size: tuple[int, int]) -> None:
    down, across = (torch.arange(side, dtype=torch.float64) for side in size)
    weave = ((-1.0) ** (down[:, None] + across))[None, None]
    rows = ((-1.0) ** down)[:, None].expand(size)[None, None]
    ramp = (across / size[1]).expand(size)[None, None]
    inside = (..., slice(4, -4), slice(4, -4))
    assert without_weave(weave)[inside].abs().max() < 1e-12
    for kept in (rows, ramp):
        torch.testing.assert_close(without_weave(kept), kept)
    both = torch.cos(2 * torch.pi * 0.25 * down)[:, None] * torch.cos(2 * torch.pi * 0.25 * across)
    found = without_weave(both[None, None])[inside]
    torch.testing.assert_close(found, (1 - 0.5**8) * both[None, None][inside])


def test_a_wave_is_multiplied_by_its_frequency_to_the_power() -> None:
    p = SpectralPreconditioner(64, 64, 0.5)
    position = torch.arange(64, dtype=torch.float64)
    gains = []
    for cycles in (2, 8, 32):  # in 64 pixels
        wave = torch.cos(2 * torch.pi * cycles * position / 64).expand(1, 3, 64, 64)
        gains.append(float((wave * p(wave)).sum() / wave.square().sum()))
        torch.testing.assert_close(p(wave), gains[-1] * wave, rtol=1e-5, atol=1e-5)
    # a fourth of the frequency, to the power -1/2
    assert gains[0] / gains[1] == pytest.approx(2, rel=1e-5)
    assert gains[1] / gains[2] == pytest.approx(2, rel=1e-5)


def test_the_planes_are_filtered_apart() -> None:
    x = picture((20, 30), 1)
    p = SpectralPreconditioner(20, 30, 0.5)
    torch.testing.assert_close(p(x)[:, 1:2], p(x[:, 1:2]))


@pytest.mark.slow
def test_it_saves_evaluations() -> None:
    # what it is for: the objective after 20 of them
    config = gram_config(size=128, levels=1)
    content, style = read(sample_portrait()), read(sample_style("strokes"))
    problem = prepare_problem(content, [style], config)
    level = problem.levels[-1]
    start = resize(content.pixels, level.height, level.width)
    objective = Objective(
        config, Backbone(load("compact")), start, regions_at(problem, level, config)
    )
    reached = {}
    for power in (0.0, 0.5):
        x, solver = start, LBFGS(1.0, 10, 0.01, SpectralPreconditioner(*start.shape[2:], power))
        for _ in range(20):
            value, gradient = objective.evaluate(x)
            x = solver.step(x, gradient)
        reached[power] = float(value.total)
    assert reached[0.5] < 0.95 * reached[0.0]
