"""The optimization loop: minimize the objective over the pixels, level by level."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import torch

from impasto.backbone.parallel import initialize_sqrt
from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.images.read import Picture, resize
from impasto.objective.objective import Loss
from impasto.objective.regions import Region
from impasto.painting.allocator import give_back
from impasto.painting.cuda_graph import GraphedSolver
from impasto.painting.levels import enlarged, starting_point
from impasto.painting.memory import Plan
from impasto.painting.problem import Problem, at_level, regions_at
from impasto.painting.pyramid import Level
from impasto.painting.step import State, Step
from impasto.painting.style_detail import style_detail
from impasto.solver import make_solver
from impasto.solver.safeguard import Safeguard
from impasto.solver.safeguarded import SafeguardedSolver

__all__ = ["Evaluator", "Loop", "MakeEvaluator"]

CHECK_EVERY = 10  # steps between two checks for failed steps on a GPU; each waits for the GPU


class Evaluator(Protocol):
    """Evaluates the objective of one level: in this process, or on other machines."""

    def evaluate(self, pixels: torch.Tensor) -> tuple[Loss, torch.Tensor]:
        """Compute the objective at `pixels` (1, 3, H, W), and its gradient of the same shape."""


MakeEvaluator = Callable[..., Evaluator]  # for a level; called with the arguments of `Objective`


class Loop:
    """The state of a run between evaluations: `ask` gives a point, `tell` takes its value.

    It leads the solver through the levels; `Run.steps` is the loop itself.

    Example:
        while (point := loop.ask()) is not None:
            step = loop.tell(*loop.evaluator.evaluate(point))
    """

    evaluator: Evaluator
    _solver: SafeguardedSolver
    _index: int  # of the level, from 1

    def __init__(
        self,
        problem: Problem,
        config: Config,
        backbone: Backbone,
        plan: Plan,
        make_evaluator: MakeEvaluator,
        start: Picture | None = None,
        resume: State | None = None,
    ):
        """Begin a run, or resume one.

        Args:
            problem: the content, the regions and their styles.
            config: the settings.
            backbone: the network.
            plan: the tile size.
            make_evaluator: makes the evaluator of a level.
            start: a picture that replaces the config's `start`.
            resume: the state of a run of the same problem, config, network and plan.
        """
        self._problem, self._config, self._backbone, self._plan = problem, config, backbone, plan
        self._start, self._resume, self._make_evaluator = start, resume, make_evaluator
        initialize_sqrt()
        self._number, self._work, self._mended, self._improved = 0, 0.0, 0, False
        self._began = time.perf_counter()
        if resume:
            self._number, self._work = resume.number, resume.work
            self._mended, self._improved = resume.mended, resume.improved
            self._began -= resume.seconds
        self._all_work = sum(level.steps * self._work_of(level) for level in problem.levels)
        self._levels: Iterator[tuple[int, Level]] = iter(enumerate(problem.levels, 1))
        self._level: Level | None = None
        self._done = 0  # steps made in the level
        self._point = torch.empty(0)
        self._recolor: Callable[[torch.Tensor], torch.Tensor] = lambda pixels: pixels

    def ask(self) -> torch.Tensor | None:
        """Return the next point to evaluate, (1, 3, h, w), or None at the end of the run."""
        while self._level is None or self._done == self._level.steps:
            if self._level is not None:
                self._improved = self._solver.has_improved(self._improved)
            index, level = next(self._levels, (0, None))
            if level is None:
                return None
            # a resumed run has made the levels before
            if not self._resume or index >= self._resume.level:
                self._enter(index, level)
        return self._point

    def tell(self, loss: Loss, gradient: torch.Tensor) -> Step:
        """Make a solver step from the evaluation of the last point asked for.

        Args:
            loss: the objective at the point.
            gradient: the objective's gradient there, (1, 3, h, w).

        Raises:
            SolverError: the objective has not been finite at any point so far.
        """
        level = self._level
        assert level is not None
        seen, self._done = self._point, self._done + 1
        last = self._done == level.steps
        self._point, trouble = self._solver.step(seen, loss.total, gradient, loss.term_values, last)
        self._number += 1
        self._work += self._work_of(level)
        self._mended += bool(trouble)
        return self._step(seen, loss, trouble)

    def _step(self, picture: torch.Tensor, loss: Loss, note: str) -> Step:
        """Make the Step of the point that was evaluated last."""
        seconds = time.perf_counter() - self._began
        state = State(
            number=self._number,
            level=self._index,
            done=self._done,
            work=self._work,
            seconds=seconds,
            mended=self._mended,
            improved=self._improved,
            tensors={"x": self._point},
        )
        return Step(
            number=self._number,
            steps=self._config.steps,
            level=self._index,
            levels=len(self._problem.levels),
            picture=picture,
            value=loss.total,
            terms=loss.terms,
            best=self._solver.best,
            evaluations=self._number,
            seconds=seconds,
            fraction=self._work / self._all_work,
            note=note,
            mended=self._mended,
            improved=partial(self._solver.has_improved, self._improved),
            recolor=self._recolor,
            state=partial(_with_solver, state, self._solver),
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
        """Begin a level: make its evaluator, its solver and its first point."""
        problem, config, device = self._problem, self._config, self._backbone.device
        content = problem.content.pixels
        small = resize(content, level.height, level.width).to(device)
        if level.finish and self._level is not None:
            # the larger network's memory comes in place of the smaller one's, and not beside it
            del self.evaluator, self._solver
            self._backbone.forget_layouts()
            give_back()
        regions = regions_at(problem, level, config, device)
        protect = at_level(problem.protect, level, device)
        self.evaluator = self._make_evaluator(
            config, self._network(level), small, regions, self._plan.tile_size, protect
        )
        self._solver = _solver(config, level, device)
        before, self._level, self._index, self._done = self._level, level, index, 0
        if self._resume and index == self._resume.level:
            self._done = self._resume.done
            self._point = self._solver.restore(self._resume.tensors, device)
        elif before is None:
            start = problem.named if self._start is None else self._start
            first = resize(problem.beginning, level.height, level.width).to(device)
            self._point = starting_point(config, start, first, regions[0].styles[0].pixels)
        elif (before.height, before.width) == (level.height, level.width):
            pass  # another network goes on from the same point
        elif config.content_layers:
            detail = (
                resize(problem.beginning, *side).to(device) for side in (before[:2], level[:2])
            )
            self._point = self._sharpened(enlarged(self._point, *detail), regions)
        else:
            larger = resize(self._point, level.height, level.width)
            self._point = self._sharpened(larger, regions)
        original = resize(problem.original.pixels, level.height, level.width)
        self._recolor = partial(problem.recolored, content=original)

    def _sharpened(self, larger: torch.Tensor, regions: Sequence[Region]) -> torch.Tensor:
        """The last level's picture, enlarged, with the styles' detail; less of a weaker style."""
        if not self._config.style_layers:
            return larger
        detail = style_detail(self._point, regions, *larger.shape[2:])
        return larger.add(detail, alpha=min(1.0, self._config.strength)).clamp(0, 1)


def _with_solver(state: State, solver: SafeguardedSolver) -> State:
    return state._replace(tensors={**state.tensors, **solver.state()})


def _solver(config: Config, level: Level, device: torch.device) -> SafeguardedSolver:
    solver = make_solver(config, (level.height, level.width), level.steps, device)
    safeguard = Safeguard(1 if device.type == "cpu" else CHECK_EVERY)
    make_advance = GraphedSolver if device.type == "cuda" else None
    return SafeguardedSolver(solver, safeguard, config.clamp, config.precondition > 0, make_advance)
