"""The one loop: a picture is the unknown of a minimization."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Protocol

import torch

from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.images.read import Picture, resize
from impasto.objective.objective import Loss, Objective
from impasto.painting.levels import enlarged, starting_point
from impasto.painting.memory import Plan
from impasto.painting.problem import Problem, at_level, regions_at
from impasto.painting.pyramid import Level
from impasto.painting.step import State, Step
from impasto.solver import make_solver
from impasto.solver.safeguard import Safeguard
from impasto.solver.safeguarded import SafeguardedSolver

__all__ = ["Evaluator", "Loop", "MakeEvaluator"]

# steps between two checks for trouble on a device of its own: each one waits for it
CHECK_EVERY = 10


class Evaluator(Protocol):
    """The objective of one level, wherever it is evaluated."""

    def evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        """The objective at `pixels` (1, 3, H, W), and its gradient there."""


MakeEvaluator = Callable[..., Evaluator]  # of a level, from what `Objective` takes


class Loop:
    """A run of the solver up the levels, by ask and tell: whoever has a Loop decides where it is
    evaluated.

    Example:
        while (point := loop.ask()) is not None:
            step = loop.tell(*loop.evaluator.evaluate(point))
    """

    def __init__(
        self,
        problem: Problem,
        config: Config,
        backbone: Backbone,
        plan: Plan,
        start: Picture | None = None,
        resume: State | None = None,
        evaluator_of: MakeEvaluator = Objective,
    ):
        """Begin, or go on after the step of `resume`.

        Args:
            problem, config, backbone, plan: as `Run` has them.
            start: the picture to start from, in place of the config's.
            resume: the state of a run of the same problem, config, network and plan.
            evaluator_of: makes the evaluator of a level.
        """
        self._problem, self._config, self._backbone, self._plan = problem, config, backbone, plan
        self._start, self._resume, self._evaluator_of = start, resume, evaluator_of
        _take_first_root()
        self._number, self._work, self._mended, self._improved = 0, 0.0, 0, False
        if resume:
            self._number, self._work, self._mended, self._improved = (
                resume[0],
                resume.work,
                resume.mended,
                resume.improved,
            )
        self._began = time.perf_counter() - (resume.seconds if resume else 0.0)
        self._all_work = sum(level.steps * self._work_of(level) for level in problem.levels)
        self._levels: Iterator[tuple[int, Level]] = iter(enumerate(problem.levels, 1))
        self._level: Level | None = None
        self._done = 0  # steps of the level
        self._point = torch.empty(0)
        self._finish: Callable[[torch.Tensor], torch.Tensor] = lambda pixels: pixels

    def ask(self) -> torch.Tensor | None:
        """The point to evaluate next, (1, 3, h, w), with `evaluator`; None when the run is over."""
        while self._level is None or self._done == self._level.steps:
            if self._level is not None:
                self._improved = self._solver.has_improved(self._improved)
            index, level = next(self._levels, (0, None))
            if level is None:
                return None
            if not self._resume or index >= self._resume.level:
                self._enter(index, level)
        return self._point

    def tell(self, loss: Loss, gradient: torch.Tensor) -> Step:
        """Take in what `evaluator` says of the point, move on, and show the step.

        Raises:
            SolverError: no value has been finite so far.
        """
        level = self._level
        assert level is not None
        seen, self._done = self._point, self._done + 1
        last = self._done == level.steps
        self._point, trouble = self._solver.step(seen, loss.total, gradient, loss.term_values, last)
        self._number += 1
        self._work += self._work_of(level)
        self._mended += bool(trouble)
        seconds = time.perf_counter() - self._began
        state = State(
            self._number,
            self._index,
            self._done,
            self._work,
            seconds,
            self._mended,
            self._improved,
            {"x": self._point},
        )
        return Step(
            self._number,
            self._config.steps,
            self._index,
            len(self._problem.levels),
            seen,
            loss.total,
            loss.terms,
            self._solver.best,
            self._number,
            seconds,
            self._work / self._all_work,
            trouble,
            self._mended,
            partial(self._solver.has_improved, self._improved),
            self._finish,
            partial(_with_solver, state, self._solver),
        )

    def _network(self, level: Level) -> Backbone:
        """The network that makes the steps of a level."""
        if not level.finish:
            return self._backbone
        assert self._backbone.finisher is not None
        return self._backbone.finisher

    def _work_of(self, level: Level) -> float:
        """What a step of a level costs, against others."""
        layers = [*self._config.content_layers, *self._config.style_layers]
        return level.height * level.width * self._network(level).cost(layers)

    def _enter(self, index: int, level: Level) -> None:
        """Begin a level: its targets, its solver, its first point."""
        problem, config, device = self._problem, self._config, self._backbone.device
        content = problem.content.pixels
        small = resize(content, level.height, level.width).to(device)
        regions = regions_at(problem, level, config, device)
        protect = at_level(problem.protect, level, device)
        self.evaluator = self._evaluator_of(
            config, self._network(level), small, regions, self._plan.tile_size, protect
        )
        self._solver = _solver(config, level, device)
        before, self._level, self._index, self._done = self._level, level, index, 0
        if self._resume and index == self._resume.level:
            self._done, self._point = (
                self._resume.done,
                self._solver.restore(self._resume.tensors, device),
            )
        elif before is None:
            start = problem.named if self._start is None else self._start
            self._point = starting_point(config, start, small, regions[0].styles[0].pixels)
        elif (before.height, before.width) == (level.height, level.width):
            pass  # another network goes on from the same point
        elif config.content_layers:
            self._point = enlarged(
                self._point, resize(content, before.height, before.width).to(device), small
            )
        else:
            self._point = resize(self._point, level.height, level.width)
        original = resize(problem.original.pixels, level.height, level.width)
        self._finish = partial(problem.finished, content=original)


def _take_first_root() -> None:
    """Take one root before any large one.

    The first that MKL takes in a process is rough on some threads if several take it at once: one
    painting in ten came out otherwise.
    """
    torch.ones(1).sqrt()


def _with_solver(state: State, solver: SafeguardedSolver) -> State:
    return state._replace(tensors={**state.tensors, **solver.state()})


def _solver(config: Config, level: Level, device: torch.device) -> SafeguardedSolver:
    solver = make_solver(config, (level.height, level.width), level.steps, device)
    safeguard = Safeguard(1 if device.type == "cpu" else CHECK_EVERY)
    return SafeguardedSolver(solver, safeguard, config.clamp)
