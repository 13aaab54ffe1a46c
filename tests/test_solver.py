import math

import pytest
import torch

from impasto.solver import LBFGS, Adam, Guard, pyramid


def bowl(x: torch.Tensor) -> torch.Tensor:
    """A badly scaled quadratic with its minimum at 1."""
    scale = torch.logspace(0, 3, x.numel(), dtype=x.dtype).view_as(x)
    return (scale * (x - 1).square()).sum() / 2


def rosenbrock(x: torch.Tensor) -> torch.Tensor:
    a, b = x.flatten()[::2], x.flatten()[1::2]
    return ((1 - a).square() + 10 * (b - a.square()).square()).sum()


def run(solver, objective, x: torch.Tensor, steps: int) -> list[torch.Tensor]:
    points = [x]
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(objective(x), x)
        x = solver.step(x.detach(), gradient)
        points.append(x)
    return points


@pytest.mark.parametrize("history", [3, 100])
@pytest.mark.parametrize("objective", [bowl, rosenbrock])
def test_lbfgs_walks_as_torchs_does(objective, history: int) -> None:
    x = torch.full((2, 6), 0.3, dtype=torch.float64)
    theirs = x.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [theirs], lr=1, max_iter=1, history_size=history, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = objective(theirs)
        value.backward()
        return value

    for ours in run(LBFGS(1.0, history), objective, x, 12)[1:]:
        optimizer.step(closure)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-9)


def test_lbfgs_reaches_the_minimum_of_a_quadratic() -> None:
    last = run(LBFGS(), bowl, torch.zeros(20, dtype=torch.float64), 150)[-1]
    assert bowl(last) < 1e-6


def test_lbfgs_does_not_stop_after_a_tiny_step() -> None:
    # torch.optim.LBFGS gives up below its tolerance_change; users see it "stop after eight steps"
    solver = LBFGS()
    x, g = torch.zeros(4), torch.full((4,), 1e-12)
    assert (solver.step(x, g) != x).all()


def test_lbfgs_learns_nothing_from_wrong_curvature() -> None:
    solver = LBFGS()
    solver.step(torch.zeros(3), torch.ones(3))
    solver.step(torch.ones(3), -torch.ones(3))  # s.y < 0
    # the next step is that of the first pair's absence: along the gradient, in the first step's unit
    moved = solver.step(torch.zeros(3), torch.full((3,), 0.1))
    assert torch.isfinite(moved).all()


def test_lbfgs_takes_a_first_step_of_the_size_asked_for() -> None:
    g = torch.randn(50, generator=torch.Generator().manual_seed(1))
    moved = LBFGS(first=0.01).step(torch.zeros(50), 1e6 * g)
    assert moved.square().mean().sqrt().item() == pytest.approx(0.01, rel=1e-5)


def test_lbfgs_survives_a_zero_gradient() -> None:
    for solver in (LBFGS(), LBFGS(first=0.01)):
        x = torch.ones(3)
        for _ in range(3):
            x = solver.step(x, torch.zeros(3))
        assert torch.equal(x, torch.ones(3))


def test_adam_walks_as_torchs_does() -> None:
    x = torch.full((2, 6), 0.3, dtype=torch.float64)
    theirs = x.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.05)
    for ours in run(Adam(0.05), rosenbrock, x, 30)[1:]:
        optimizer.zero_grad()
        rosenbrock(theirs).backward()
        optimizer.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solver", [LBFGS(), Adam()])
def test_a_step_changes_neither_point_nor_gradient(solver) -> None:
    x, g = torch.ones(5), torch.full((5,), 0.3)
    for _ in range(3):
        solver.step(x, g)
    assert torch.equal(x, torch.ones(5))
    assert torch.equal(g, torch.full((5,), 0.3))


def checked(guard: Guard, value: float, x: float = 0.0) -> str:
    return guard.check(torch.full((2,), x), torch.tensor(value), torch.zeros(2), torch.tensor([value]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_guard_sees_what_is_not_finite_and_keeps_the_best(bad: float) -> None:
    guard = Guard()
    assert checked(guard, 5.0, x=1.0) == ""
    assert "not finite" in checked(guard, bad, x=2.0)
    assert guard.best.value == 5
    assert torch.equal(guard.best.point, torch.ones(2))


def test_the_guard_sees_a_gradient_that_is_not_finite() -> None:
    guard = Guard()
    checked(guard, 5.0)
    assert guard.check(torch.zeros(2), torch.tensor(4.0), torch.tensor([0.0, math.nan]), torch.tensor([4.0])) != ""
    assert guard.best.value == 5


def test_the_guard_lets_a_detour_pass_but_not_a_blow_up() -> None:
    guard = Guard()
    checked(guard, 5.0)
    assert checked(guard, 40.0) == ""
    assert "rose" in checked(guard, 51.0)


def test_the_guard_loses_patience_with_a_run_that_strayed() -> None:
    guard = Guard()
    checked(guard, 5.0)
    said = [checked(guard, 9.0) for _ in range(30)]
    assert sum(map(bool, said)) == 1


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 200])
@pytest.mark.parametrize("step_ratio", [0.01, 0.5, 1.0, 10.0])
def test_a_pyramid_ends_at_full_size_and_spends_every_step(steps: int, step_ratio: float) -> None:
    levels = pyramid(512, 384, 3, 2.0, steps, step_ratio)
    assert levels[-1][:3] == (512, 384, 1.0)
    assert sum(level.steps for level in levels) == steps
    assert all(level.steps >= 1 for level in levels)
    assert [level.height for level in levels] == sorted(level.height for level in levels)


def test_a_pyramid_has_no_level_too_small_to_see() -> None:
    assert [level[:2] for level in pyramid(512, 200, 5, 2.0, 100, 1.0)] == [(256, 100), (512, 200)]
    assert [level[:2] for level in pyramid(40, 50, 5, 2.0, 100, 1.0)] == [(40, 50)]


def test_a_pyramids_levels_share_the_steps_by_the_ratio() -> None:
    assert [level.steps for level in pyramid(800, 800, 3, 2.0, 70, 0.5)] == [39, 20, 11]
