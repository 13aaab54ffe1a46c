import gc
import weakref

import pytest
import torch

from impasto.solver.lbfgs import LBFGS
from impasto.solver.safeguard import Safeguard
from impasto.solver.safeguarded import SafeguardedSolver


def steps(solver: SafeguardedSolver, count: int) -> None:
    """Minimize |x|^2, and end the level."""
    x = torch.ones(1, 3, 4, 4)
    for k in range(count):
        value = x.square().sum()
        x, _ = solver.step(x, value, 2 * x, value[None], k == count - 1)


def test_after_its_level_a_solver_keeps_no_pairs() -> None:
    solver = SafeguardedSolver(LBFGS(history=3), Safeguard(), True)
    steps(solver, 4)
    assert not any(name.startswith("solver.pairs") for name in solver.state())
    assert float(solver.best.value) < 3 * 4 * 4


def test_its_memory_is_free_with_its_last_reference() -> None:
    solver = SafeguardedSolver(LBFGS(history=3), Safeguard(), True)
    steps(solver, 3)
    gone = weakref.ref(solver)
    gc.disable()
    try:
        del solver
        assert gone() is None
    finally:
        gc.enable()


def weave_after_steps(unweave: bool) -> float:
    """The weave of two pixels, +1 and -1, in stripes both ways that are cut off at white."""
    sign = (-1.0) ** torch.arange(64)
    stripes = (0.8 + 0.2 * (sign[:, None] + sign)).expand(1, 3, 64, 64)  # 1.2, 0.8 and 0.4
    solver = SafeguardedSolver(LBFGS(history=3, first=0.1), Safeguard(), True, unweave)
    x = torch.full((1, 3, 64, 64), 0.8)
    for _ in range(3):
        gradient = x - stripes
        value = gradient.square().sum() / 2
        x, _ = solver.step(x, value, gradient, value[None], False)
    assert (x.min() >= 0) & (x.max() <= 1)
    return float((x * sign[:, None] * sign).mean().abs())


def test_what_is_cut_off_at_white_makes_less_of_a_weave() -> None:
    made = weave_after_steps(unweave=False)
    assert made == pytest.approx(0.05, abs=0.005)  # of 1, 0.8 and 0.4 in place of 1.2, 0.8 and 0.4
    assert weave_after_steps(unweave=True) < 0.65 * made
