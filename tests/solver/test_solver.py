import math

import pytest
import torch

from impasto.errors import SolverError
from impasto.painting.pyramid import pyramid
from impasto.solver.adam import Adam
from impasto.solver.lbfgs import LBFGS
from impasto.solver.safeguard import Safeguard


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


def assert_torchs_walk(objective, x: torch.Tensor, history: int, steps: int) -> None:
    """Our LBFGS goes where torch.optim.LBFGS goes, step by step."""
    theirs = x.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [theirs], lr=1, max_iter=1, history_size=history, tolerance_grad=0, tolerance_change=0
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = objective(theirs)
        value.backward()
        return value

    for ours in run(LBFGS(1.0, history), objective, x, steps)[1:]:
        optimizer.step(closure)
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("history", [3, 100])
@pytest.mark.parametrize("objective", [bowl, rosenbrock])
def test_lbfgs_walks_as_torchs_does(objective, history: int) -> None:
    assert_torchs_walk(objective, torch.full((2, 6), 0.3, dtype=torch.float64), history, 12)


def well(x: torch.Tensor) -> torch.Tensor:
    """Curved the wrong way farther than 1 from its bottom."""
    return (1 - torch.exp(-(x**2) / 2)).sum()


def test_lbfgs_leaves_wrong_curvature_as_torchs_does() -> None:
    # the published recipes begin so: at the photograph curvature is often wrong
    assert_torchs_walk(well, torch.linspace(1.5, 2.5, 12, dtype=torch.float64), 100, 12)


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
    first = solver.step(torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(first, torch.full((3,), -1 / 3))
    # s = 1 and y = -2, then s = -1 and y = 1.1: without an accepted pair each step after the first
    # is the gradient
    second = solver.step(torch.ones(3), -torch.ones(3))
    torch.testing.assert_close(second, torch.full((3,), 2.0))
    third = solver.step(torch.zeros(3), torch.full((3,), 0.1))
    torch.testing.assert_close(third, torch.full((3,), -0.1))
    # s = 1 and y = 0.1 are accepted: they say that the minimum is one step farther back
    fourth = solver.step(torch.ones(3), torch.full((3,), 0.2))
    torch.testing.assert_close(fourth, torch.full((3,), -1.0))


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


def checked(safeguard: Safeguard, value: float, x: float = 0.0) -> str:
    return safeguard.check(
        torch.full((2,), x), torch.tensor(value), torch.zeros(2), torch.tensor([value])
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_safeguard_sees_what_is_not_finite_and_keeps_the_best(bad: float) -> None:
    safeguard = Safeguard()
    assert checked(safeguard, 5.0, x=1.0) == ""
    assert "not finite" in checked(safeguard, bad, x=2.0)
    assert safeguard.best.value == 5
    assert torch.equal(safeguard.best.point, torch.ones(2))


def test_the_safeguard_sees_a_gradient_that_is_not_finite() -> None:
    safeguard = Safeguard()
    checked(safeguard, 5.0)
    assert (
        safeguard.check(
            torch.zeros(2), torch.tensor(4.0), torch.tensor([0.0, math.nan]), torch.tensor([4.0])
        )
        != ""
    )
    assert safeguard.best.value == 5


def test_the_safeguard_lets_a_detour_pass_but_not_a_blow_up() -> None:
    safeguard = Safeguard()
    checked(safeguard, 5.0)
    assert checked(safeguard, 40.0) == ""
    assert "rose" in checked(safeguard, 51.0)


def test_a_run_that_stays_above_its_best_is_reported_once() -> None:
    safeguard = Safeguard()
    checked(safeguard, 5.0)
    said = [checked(safeguard, 9.0) for _ in range(30)]
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


# --- L-BFGS against the two-loop recursion


class TwoLoop:
    """Algorithm 7.4 of Nocedal & Wright 2006, as it reads; H_0 = scale p. Pairs with s.y <= 0 only
    take their slot."""

    def __init__(self, history: int, p=lambda x: x):
        self.history, self.p, self.before, self.pairs = history, p, None, []

    def step(self, x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        if self.before is None:
            self.before, self.scale = (x, g), 1.0
            return x - min(1.0, 1 / float(g.abs().sum())) * self.p(g)
        else:
            s, y = x - self.before[0], g - self.before[1]
            self.pairs = [*self.pairs, (s, y)][-self.history :]
            if s @ y > 0:
                self.scale = (s @ y) / (y @ self.p(y))
        self.before = x, g
        accepted = [(s, y) for s, y in self.pairs if s @ y > 0]
        q, alphas = g.clone(), []
        for s, y in reversed(accepted):
            alphas.append((s @ q) / (s @ y))
            q -= alphas[-1] * y
        r = self.scale * self.p(q)
        for (s, y), alpha in zip(accepted, reversed(alphas), strict=True):
            r += (alpha - (y @ r) / (s @ y)) * s
        return x - r


def valley(x: torch.Tensor) -> torch.Tensor:
    """Convex, but no quadratic; L-BFGS without a line search comes down it."""
    return (
        torch.cosh(torch.linspace(0.5, 2, x.numel(), dtype=x.dtype) * (x - 1)).sum()
        + (x[1:] - x[:-1]).pow(4).sum()
    )


@pytest.mark.parametrize("history", [1, 2, 5, 8])
def test_lbfgs_walks_as_the_two_loop_recursion_does(history: int) -> None:
    # three times around the history and some
    x = torch.linspace(-1, 2, 30, dtype=torch.float64)
    steps = 3 * history + 2
    ours, theirs = (
        run(LBFGS(1.0, history), valley, x, steps),
        run(TwoLoop(history), valley, x, steps),
    )
    assert_same_walk(ours, theirs)
    assert valley(ours[-1]) < valley(x)


@pytest.mark.parametrize("history", [1, 3, 8])
def test_lbfgs_walks_as_the_two_loop_recursion_does_when_preconditioned(history: int) -> None:
    x = torch.linspace(-1, 2, 30, dtype=torch.float64)
    mixed = torch.randn(30, 30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    matrix = torch.eye(30, dtype=torch.float64) + 0.01 * mixed @ mixed.T

    def p(v: torch.Tensor) -> torch.Tensor:
        return matrix @ v

    steps = 3 * history + 2
    ours, theirs = (
        run(solver, valley, x, steps) for solver in (LBFGS(1.0, history, 0, p), TwoLoop(history, p))
    )
    assert_same_walk(ours, theirs)
    assert valley(ours[-1]) < valley(x)


def assert_same_walk(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> None:
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(
            a, b, rtol=1e-8, atol=1e-9, msg=lambda text, k=k: f"step {k}: {text}"
        )


@pytest.mark.parametrize("history", [1, 2, 4, 9])
def test_lbfgs_walks_as_torchs_does_around_a_short_history(history: int) -> None:
    assert_torchs_walk(valley, torch.linspace(-1, 2, 30, dtype=torch.float64), history, 22)


def path(bad: set[int], count: int = 14, size: int = 20) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Points and gradients of which the k-th pair has s.y > 0, or s.y < 0 where k is in `bad`."""
    generator = torch.Generator().manual_seed(7)
    x, g = (
        torch.zeros(size, dtype=torch.float64),
        torch.randn(size, generator=generator, dtype=torch.float64),
    )
    curvature = torch.logspace(-1, 1, size, dtype=torch.float64)
    found = [(x, g)]
    for k in range(1, count):
        s = torch.randn(size, generator=generator, dtype=torch.float64)
        x, g = x + s, g + (-1 if k in bad else 1) * curvature * s * (1 + 0.1 * k)
        found.append((x, g))
    return found


@pytest.mark.parametrize(
    "bad",
    [
        set(),
        {5},
        {1},
        {1, 2, 3},
        {5, 6},
        {6, 11},
        {2, 4, 6, 8, 10},
        {13},
        set(range(4, 12)),
        set(range(14)),
    ],
)
@pytest.mark.parametrize("history", [1, 3, 4, 20])
def test_a_pair_of_wrong_curvature_is_passed_over_and_takes_a_slot(
    bad: set[int], history: int
) -> None:
    ours, theirs = LBFGS(1.0, history), TwoLoop(history)
    for k, (x, g) in enumerate(path(bad)):
        a, b = ours.step(x, g), theirs.step(x, g)
        assert (a - b).norm() < 1e-9 * (b - x).norm(), k


def test_a_pair_of_no_length_is_passed_over() -> None:
    given = path(set())
    given.insert(6, given[5])
    ours, theirs = LBFGS(1.0, 4), TwoLoop(4)
    for x, g in given:
        a, b = ours.step(x, g), theirs.step(x, g)
        assert (a - b).norm() < 1e-9 * (b - x).norm()


def test_a_reset_lbfgs_is_a_new_one() -> None:
    used = LBFGS(1.0, 3)
    for x, g in path({4}):
        used.step(x, g)
    used.reset()
    new = LBFGS(1.0, 3)
    for x, g in path({2}, size=8):  # of another size too
        assert torch.equal(used.step(x, g), new.step(x, g))


def test_a_long_step_in_float32_is_that_of_float64() -> None:
    ours, exact = LBFGS(1.0, 3), LBFGS(1.0, 3)
    for x, g in path({2}, 6, 300_000):
        a, b = ours.step(x.float(), g.float()), exact.step(x, g)
        assert (a - b).norm() < 1e-4 * (b - x).norm()


# --- nothing waits for the device


@pytest.fixture
def nobody_asks(monkeypatch):
    """From the call on, whoever reads a tensor's number fails."""

    def begin() -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("a number was read back from the device")

        for name in (
            "item",
            "tolist",
            "numpy",
            "cpu",
            "__bool__",
            "__float__",
            "__int__",
            "__index__",
            "__array__",
        ):
            monkeypatch.setattr(torch.Tensor, name, refuse)
        for name in ("equal", "allclose", "is_nonzero"):
            monkeypatch.setattr(torch, name, refuse)

    return begin


def test_a_step_does_not_wait_for_the_device(nobody_asks) -> None:
    solvers = [LBFGS(history=3), LBFGS(history=20, first=0.01), Adam()]
    given = path({4, 9})
    nobody_asks()
    for solver in solvers:
        for x, g in given:  # the first, growing, going around, with pairs of wrong curvature
            solver.step(x, g)


def test_the_safeguard_waits_for_the_device_only_at_a_check(nobody_asks) -> None:
    safeguard = Safeguard(check_every=10)
    evaluation = torch.ones(4), torch.tensor(3.0), torch.ones(4), torch.ones(2)
    safeguard.check(*evaluation)  # the first is always asked about
    nobody_asks()
    for between in (8, 9):
        for _ in range(between):
            assert safeguard.check(*evaluation) == ""
        with pytest.raises(AssertionError, match="read back"):
            safeguard.check(*evaluation)
    with pytest.raises(AssertionError, match="read back"):
        safeguard.check(*evaluation, last=True)


# --- a safeguard that looks now and then


def test_divergence_between_checks_is_reported_at_the_next_and_the_best_is_kept() -> None:
    safeguard = Safeguard(check_every=3)
    assert [checked(safeguard, value, x=value) for value in (5.0, math.nan)] == ["", ""]
    assert "not finite" in checked(safeguard, 4.0, x=4.0)
    assert safeguard.best.value == 4
    assert torch.equal(safeguard.best.point, torch.full((2,), 4.0))
    assert safeguard.best.term_values.tolist() == [4.0]
    assert [checked(safeguard, 3.0) for _ in range(6)] == [""] * 6  # told once
    assert safeguard.best.value == 3


def test_the_first_of_several_divergences_between_checks_is_reported() -> None:
    safeguard = Safeguard(check_every=4)
    said = [checked(safeguard, value) for value in (5.0, 60.0, math.nan, 4.0)]
    assert said == ["", "", "", "the objective rose from 5 to 60"]
    assert safeguard.best.value == 4


def test_a_run_that_stays_above_its_best_is_reported_at_the_next_check() -> None:
    safeguard = Safeguard(check_every=7)
    said = [checked(safeguard, value) for value in [5.0] + [9.0] * 47]
    # the 25th step above is the 26th
    assert [k for k, words in enumerate(said, 1) if words] == [28]
    assert "stayed above" in said[27]


def test_the_best_is_known_between_checks() -> None:
    safeguard = Safeguard(check_every=100)
    for value in (5.0, 2.0, math.nan, 7.0):
        checked(safeguard, value, x=value)
    assert safeguard.best.value == 2
    assert torch.equal(safeguard.best.point, torch.full((2,), 2.0))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_first_value_that_is_not_finite_ends_the_run_at_once(bad: float) -> None:
    with pytest.raises(SolverError, match="at the start"):
        checked(Safeguard(check_every=3), bad)


def test_divergence_after_the_last_check_is_reported_with_the_last_evaluation() -> None:
    safeguard = Safeguard(check_every=3)
    assert [checked(safeguard, value) for value in (5.0, 4.0, 3.0, math.nan)] == [""] * 4
    last = torch.zeros(2), torch.tensor(2.0), torch.zeros(2), torch.tensor([2.0])
    assert "not finite" in safeguard.check(*last, last=True)
    assert safeguard.best.value == 2


def test_points_and_gradients_may_lie_in_memory_as_they_like() -> None:
    # that of a film's frame has its channels last
    torch.manual_seed(0)
    start, target = torch.rand(2, 1, 3, 6, 5)
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        solver, x = LBFGS(), start.clone()
        for _ in range(5):
            x = solver.step(x, (x - target).contiguous(memory_format=layout))
        ends.append(x)
    assert torch.equal(*ends)
