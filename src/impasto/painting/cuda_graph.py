"""Replay evaluations as CUDA graphs, because a GPU computes faster than Python can ask it to.

Up to about 1024 pixels an evaluation with VGG-19 takes longer to launch, kernel by kernel, than to
compute. A graph holds all its kernels and is launched at once.
"""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from impasto.objective.objective import Loss, Objective, evaluate_batched
from impasto.solver.safeguarded import SafeguardedSolver

__all__ = ["CudaGraph", "GraphedObjective", "GraphedSolver", "evaluate_fast", "make_evaluator"]

WARM_UPS = 2  # calls before the graph is made: libraries choose their kernels in the first

log = logging.getLogger("impasto")

_one_at_a_time = threading.Lock()  # torch captures one graph in a process at a time
# Why a graph could not be made here: torch keeps its memory, so there is one try.
_refused: list[str] = []
_refused_steps: list[str] = []

Evaluated = list[tuple[Loss, torch.Tensor]]


@contextmanager
def _capturing(graph: torch.cuda.CUDAGraph) -> Iterator[None]:
    """Capture the kernels that are launched in its body.

    The current stream is named because torch does not bring it back after a failure. Other threads
    may use the GPU meanwhile. No garbage is collected: an older graph that is freed during a
    capture ends it. Nor is any before it, which would take a tenth of a second: graphs are in no
    cycles, and are freed with what owns them.
    """
    with _one_at_a_time, torch.cuda.stream(torch.cuda.current_stream()):
        collects = gc.isenabled()
        gc.disable()
        try:
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                yield
        finally:
            if collects:
                gc.enable()


class CudaGraph:
    """Calls a function of one tensor, and after some calls replays its kernels instead.

    function: computes losses and gradients from its tensor alone, whose shape never changes, and
    reads nothing back. Where it cannot be made a graph, that is logged, and it is called as it is.
    """

    def __init__(self, function: Callable[[torch.Tensor], Evaluated]):
        self._function, self._calls = function, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given = torch.empty(0)
        self._found: Evaluated = []

    def __call__(self, pixels: torch.Tensor) -> Evaluated:
        """Return what the function returns for `pixels`."""
        self._calls += 1
        if self._calls == WARM_UPS + 1:
            self._capture(pixels)
        if self._graph is None:
            return self._function(pixels)
        self._given.copy_(pixels)
        self._graph.replay()
        # the graph's own memory is overwritten by the next replay
        return [
            (Loss(loss.total.clone(), loss.term_values.clone(), loss.names), gradient.clone())
            for loss, gradient in self._found
        ]

    def _capture(self, pixels: torch.Tensor) -> None:
        if _refused:
            return
        graph, given = torch.cuda.CUDAGraph(), pixels.clone()
        try:
            with _capturing(graph):
                found = self._function(given)
        except RuntimeError as error:
            _refused.append(str(error).partition("\n")[0])
            log.warning("no CUDA graphs, so steps take longer to launch: %s", _refused[0])
            return
        self._graph, self._given, self._found = graph, given, found


class GraphedSolver:
    """Makes the steps of a solver, and after some replays them as a CUDA graph.

    The graph changes the solver's state in memory of its own; what it returns is copied.
    """

    def __init__(self, solver: SafeguardedSolver):
        """solver: owns this; it is not kept alive."""
        self._solver, self._calls = weakref.proxy(solver), 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: list[torch.Tensor] = []
        self._found: list[torch.Tensor] = []

    def __call__(self, *given: torch.Tensor) -> list[torch.Tensor]:
        """Return what `SafeguardedSolver.advance` does."""
        self._calls += 1
        if self._calls == WARM_UPS + 1:
            self._capture(given)
        if self._graph is None:
            advanced: list[torch.Tensor] = self._solver.advance(*given)
            return advanced
        for own, new in zip(self._given, given, strict=True):
            own.copy_(new)
        self._graph.replay()
        return [each.clone() for each in self._found]

    def _capture(self, given: tuple[torch.Tensor, ...]) -> None:
        if _refused_steps:
            return
        # other tensors may be shared with earlier steps; the pairs are the solver's own
        held = {
            name: value if name == "solver.pairs" else value.clone()
            for name, value in self._solver.state().items()
        }
        graph, own = torch.cuda.CUDAGraph(), [each.clone() for each in given]
        self._solver.restore({**held, "x": own[0]}, own[0].device)  # the graph begins there
        try:
            with _capturing(graph):
                found = self._solver.advance(*own)
                for name, value in self._solver.state().items():
                    if value.data_ptr() != held[name].data_ptr():
                        held[name].copy_(value)
        except RuntimeError as error:
            _refused_steps.append(str(error).partition("\n")[0])
            log.warning("no CUDA graphs of the solver's steps: %s", _refused_steps[0])
        else:
            self._graph, self._given, self._found = graph, own, found
        self._solver.restore({**held, "x": own[0]}, own[0].device)


class GraphedObjective:
    """Evaluates an objective as a CUDA graph."""

    def __init__(self, objective: Objective):
        self._evaluate = evaluate_fast([objective])

    def evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        """Compute the objective at `pixels` (1, 3, H, W), and its gradient of the same shape."""
        return self._evaluate(pixels)[0]


def make_evaluator(*arguments: Any, **named: Any) -> Objective | GraphedObjective:
    """Make the evaluator of a level from the arguments of `Objective`."""
    objective = Objective(*arguments, **named)
    return GraphedObjective(objective) if _can_be_graphs([objective]) else objective


def evaluate_fast(objectives: Sequence[Objective]) -> Callable[[torch.Tensor], Evaluated]:
    """Return what evaluates objectives at a batch, as `evaluate_batched` does; many times."""
    evaluate = partial(evaluate_batched, objectives)
    return CudaGraph(evaluate) if _can_be_graphs(objectives) else evaluate


def _can_be_graphs(objectives: Sequence[Objective]) -> bool:
    """Whether the objectives are on a GPU that has graphs, and in one piece."""
    first = objectives[0]
    return first.backbone.device.type == "cuda" and first.tiles[0].whole
