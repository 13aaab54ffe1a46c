"""The solver's steps as a graph, without a GPU: the same points, through trouble and failure."""

import gc
import weakref
from contextlib import contextmanager, nullcontext

import pytest
import torch

from impasto.painting.cuda_graph import GraphedSolver
from impasto.solver.adam import Adam
from impasto.solver.lbfgs import LBFGS
from impasto.solver.preconditioner import SpectralPreconditioner
from impasto.solver.safeguard import Safeguard
from impasto.solver.safeguarded import SafeguardedSolver
from recorded_graph import RecordedGraph, record

HEIGHT, WIDTH, STEPS = 20, 30, 25
SOLVERS = {
    "a short history": lambda: LBFGS(
        1.0, 4, 0.01, SpectralPreconditioner(HEIGHT, WIDTH, 0.5), fixed_shapes=True
    ),
    "a long history": lambda: LBFGS(1.0, 30, 0.01, fixed_shapes=True),
    "Adam": lambda: Adam(0.02),
}


@pytest.fixture(autouse=True)
def graphs(monkeypatch):
    """Graphs that are recorded on the CPU, and none that was refused before."""
    monkeypatch.setattr("torch.cuda.CUDAGraph", RecordedGraph)
    monkeypatch.setattr("torch.cuda.graph", record)
    monkeypatch.setattr("torch.cuda.current_stream", lambda: None)
    monkeypatch.setattr("torch.cuda.stream", nullcontext)
    monkeypatch.setattr("impasto.painting.cuda_graph._refused_steps", [])


def minimize(solver, make_advance, bad=None) -> tuple[list[torch.Tensor], list[str]]:
    """Points and notes of a run on a quartic; at step `bad` its value is not a number."""
    random = torch.Generator().manual_seed(0)
    x, target, weights = (
        torch.rand(1, 3, HEIGHT, WIDTH, generator=random) * scale for scale in (1, 1, 5)
    )
    run = SafeguardedSolver(solver, Safeguard(10), True, True, make_advance)
    points, notes = [], []
    for step in range(STEPS):
        d = x - target
        value = (weights * d**2 / 2 + d**4 / 4).sum() * (torch.nan if step == bad else 1)
        gradient = weights * d + d**3
        x, note = run.step(x, value, gradient, value[None], step == STEPS - 1)
        points += [x.clone(), run.best.point.clone()]
        notes.append(note)
    return points, notes


def test_what_makes_graphs_is_freed_with_its_solver() -> None:
    # their memory is for the next level, and garbage is not collected in between
    made = []

    def make_advance(solver: SafeguardedSolver) -> GraphedSolver:
        advance = GraphedSolver(solver)
        made.append(weakref.ref(advance))
        return advance

    gc.collect()
    gc.disable()
    try:
        x = torch.rand(1, 3, HEIGHT, WIDTH)
        run = SafeguardedSolver(LBFGS(), Safeguard(10), True, make_advance=make_advance)
        run.step(x, x.sum(), x, x.sum()[None], last=False)
        assert made[0]() is not None
        del run
        assert made[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("bad", [pytest.param(None, marks=pytest.mark.slow), 13])
@pytest.mark.parametrize("name", SOLVERS)
def test_steps_as_a_graph_are_the_same(name, bad) -> None:
    plain, notes = minimize(SOLVERS[name](), None, bad)
    graphed, others = minimize(SOLVERS[name](), GraphedSolver, bad)
    assert notes == others
    assert any(notes) == (bad is not None)
    for one, other in zip(plain, graphed, strict=True):
        assert torch.equal(one, other)


def test_pairs_that_are_not_known_change_nothing() -> None:
    growing, _ = minimize(LBFGS(1.0, 30, 0.01), None)
    padded, _ = minimize(LBFGS(1.0, 30, 0.01, fixed_shapes=True), None)
    for one, other in zip(growing, padded, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_capture_that_fails_changes_nothing(name, monkeypatch, caplog) -> None:
    plain, _ = minimize(SOLVERS[name](), None)

    @contextmanager
    def fail(graph, capture_error_mode):
        with record(graph, capture_error_mode):
            yield
        raise RuntimeError("operation not permitted")

    monkeypatch.setattr("torch.cuda.graph", fail)
    graphed, _ = minimize(SOLVERS[name](), GraphedSolver)
    assert [each.message for each in caplog.records] == [
        "no CUDA graphs of the solver's steps: operation not permitted"
    ]
    for one, other in zip(plain, graphed, strict=True):
        assert torch.equal(one, other)
