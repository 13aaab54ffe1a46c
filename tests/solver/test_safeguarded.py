import gc
import weakref

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
