"""The one loop: a picture is the unknown of a minimisation."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from impasto.backbone.load import make_backbone
from impasto.backbone.vgg import Backbone
from impasto.config import Config
from impasto.errors import ClusterError, SolverError
from impasto.images.read import Source, read, resize
from impasto.images.write import to_image, write
from impasto.objective.objective import Objective
from impasto.painting.levels import enlarged, read_all, starting_point
from impasto.painting.memory import MOST, Plan, fit, keep_big_blocks
from impasto.painting.outcome import doubt_about, why_stopped
from impasto.painting.problem import Problem, at_level, prepare_problem, regions_at
from impasto.painting.pyramid import Level
from impasto.painting.record import record_of
from impasto.solver.adam import Adam
from impasto.solver.lbfgs import LBFGS
from impasto.solver.preconditioner import SpectralPreconditioner
from impasto.solver.safeguard import Best, Safeguard
from impasto.solver.safeguarded import SafeguardedSolver

__all__ = ["Painting", "State", "Step", "course", "make_painting", "paint", "paint_steps"]


class State(NamedTuple):
    """A run after a step: all that it needs to go on and end with the same picture.

    number, level, done: steps made in all, the level (from 1) and the steps made there. work, seconds: done, spent.
    mended, improved: as a Step has them, of the levels before for `improved`. tensors: the next point, the solver's and
    the guard's; on the device, and only until the next step.
    """

    number: int
    level: int
    done: int
    work: float
    seconds: float
    mended: int
    improved: bool
    tensors: dict[str, torch.Tensor]


LOOK = 10  # steps between two looks for trouble on a device of its own: each one waits for it


@dataclass(frozen=True)
class Step:
    """One solver step: what was evaluated, and how far the run is.

    number and level count from 1. picture: the evaluated point, (1, 3, h, w) float32 in [0, 1], or wherever the solver
    went without `clamp`; it must not be changed. value and terms: the objective and its weighted terms there, 0-d
    tensors that stay on the device until somebody asks. best: the lowest value so far at this level, its picture and
    its terms. evaluations and seconds: since the start. fraction: share of the run's work that is done, by pixels.
    note: what went wrong and was mended; mended: how often so far. improved: says whether any point was better than
    its level's first, and waits for the device. state: gives the run's State, until the next step.
    """

    number: int
    steps: int
    level: int
    levels: int
    picture: torch.Tensor
    value: torch.Tensor
    terms: dict[str, torch.Tensor]
    best: Best
    evaluations: int
    seconds: float
    fraction: float
    note: str = ""
    mended: int = 0
    improved: Callable[[], bool] = field(default=lambda: True, repr=False)
    finish: Callable[[torch.Tensor], torch.Tensor] = field(default=lambda pixels: pixels, repr=False)
    state: Callable[[], State] | None = field(default=None, repr=False)

    @property
    def shown(self) -> torch.Tensor:
        """The picture to be seen: in [0, 1], with the content's colours where only lightness is painted."""
        return self.finish(self.picture.clamp(0, 1))


@dataclass(frozen=True)
class Painting:
    """A painting: pixels (1, 3, H, W) float32 in [0, 1], alpha (1, 1, H, W) or None, and how it came about.

    value and terms: the objective and its weighted terms at this picture, the best of its level. steps, evaluations
    and seconds: of the whole run. stopped: why the run ended early, or "". notes: what went wrong and was mended.
    doubt: why this is hardly the painting that was meant, although every step was made, or "". settings: what the file
    will carry.
    """

    pixels: torch.Tensor
    alpha: torch.Tensor | None
    config: Config
    value: float
    terms: dict[str, float]
    steps: int
    evaluations: int
    seconds: float
    stopped: str
    settings: dict[str, Any] = field(repr=False)
    notes: list[str]
    doubt: str = ""

    @property
    def finished(self) -> bool:
        """Whether every step was made."""
        return not self.stopped

    @property
    def image(self) -> Image.Image:
        """The painting as an 8-bit PIL image, RGB or RGBA."""
        return to_image(self.pixels, self.alpha)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the painting with its settings inside; the format is the suffix's. Raises OutputError."""
        return write(self.image, path, self.settings)


def paint(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    *,
    start: Source | None = None,
    backbone: Backbone | None = None,
    named: Mapping[str, Source] | None = None,
    problem: Problem | None = None,
    fits: Plan | None = None,
    resume: State | None = None,
    objective_of: Callable[..., Any] = Objective,
    on_step: Callable[[Step], object] | None = None,
) -> Painting:
    """Paint `content` in the style of `style` (one picture or several) and return the best picture found.

    Pictures are paths, PIL images, NumPy arrays or tensors (see `pictures.read`). `start` is a picture to start from,
    in place of the config's. `named` are pictures in memory, by the names that the config has for them (masks, palette
    ...). A loaded `backbone` is used as it is, and so are `problem` and `fits`. `on_step` sees every Step.
    Ctrl-C, too little memory for the next level, or an objective that is not finite there, end the run early: what has
    been painted is returned, at full size, and `stopped` says why. Raises ImpastoError for what is wrong before that.
    """
    config = config or Config()
    picture, styles = read(content), read_all(style)
    begun = None if start is None else read(start)
    problem = problem or prepare_problem(picture, styles, config, named)  # before a network is downloaded for nothing
    backbone = backbone or make_backbone(config)
    fits = fits or fit(problem, config, backbone)
    config = config.changed(tile=fits.side or config.tile)  # so that `--from` cuts it alike
    settings = record_of(problem, config, backbone, begun)
    last: Step | None = None
    notes, stopped = [], ""
    try:
        for last in paint_steps(
            picture, styles, config, start=begun, backbone=backbone, problem=problem, fits=fits, resume=resume,
            objective_of=objective_of,
        ):  # fmt: skip
            if last.note:
                notes.append(last.note)
            if on_step:
                on_step(last)
    except (KeyboardInterrupt, SolverError, ClusterError, MemoryError, RuntimeError) as error:
        if last is None or not (stopped := why_stopped(error)):
            raise
    assert last is not None
    return make_painting(last, problem, config, settings, stopped, notes)


def make_painting(
    last: Step, problem: Problem, config: Config, settings: dict[str, Any], stopped: str = "", notes: Sequence[str] = ()
) -> Painting:
    """The painting of a run that ended with the step `last`, at full size; its file will carry `settings`."""
    content, (height, width) = problem.original, problem.levels[-1][:2]
    value = float(last.best.value)
    terms = dict(zip(last.terms, last.best.parts.tolist(), strict=True))
    pixels = resize(last.best.point.clamp(0, 1).cpu(), height, width)
    return Painting(
        pixels=problem.finished(pixels, resize(content.pixels, height, width)),
        alpha=None if content.alpha is None else resize(content.alpha, height, width),
        config=config,
        value=value,
        terms=terms,
        steps=last.number,
        evaluations=last.evaluations,
        seconds=last.seconds,
        stopped=stopped,
        settings={**settings, "steps_done": last.number, "objective": value, "terms": terms},
        notes=[*problem.notes, *notes],
        doubt="" if stopped else doubt_about(last.improved(), last.mended, last.number, terms),
    )


def paint_steps(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    *,
    start: Source | None = None,
    backbone: Backbone | None = None,
    named: Mapping[str, Source] | None = None,
    problem: Problem | None = None,
    fits: Plan | None = None,
    resume: State | None = None,
    objective_of: Callable[..., Any] = Objective,
) -> Iterator[Step]:
    """The painting as a stream of Steps; to stop is to stop reading. Arguments and errors as in `paint`.

    resume: the State of a run of the same pictures, config, network and plan: goes on after its step. objective_of:
    makes the objective of a level, as `Objective`: of one that is evaluated elsewhere.
    """
    config = config or Config()
    problem = problem or prepare_problem(read(content), read_all(style), config, named)
    backbone = backbone or make_backbone(config)
    run = course(problem, config, backbone, fits or fit(problem, config, backbone), start, resume, objective_of)
    for objective, x in run:
        yield run.send(objective.evaluate(x))


def course(
    problem: Problem,
    config: Config,
    backbone: Backbone,
    fits: Plan,
    start: Source | None = None,
    resume: State | None = None,
    objective_of: Callable[..., Any] = Objective,
) -> Generator[Any, Any, None]:
    """The way of one painting, whose evaluations somebody else makes: alone, with others', or elsewhere.

    Gives an objective and the point to evaluate it at, is sent its value and gradient, and gives the Step; and again.
    """
    device, levels, picture = backbone.device, problem.levels, problem.content
    if device.type == "cpu":
        keep_big_blocks(MOST if fits.side is None else fits.block)
        torch.ones(1).sqrt()  # the first root that MKL takes is a rough one for some threads if several take it at once
    number, work, mended, improved = 0, 0.0, 0, False
    if resume:
        number, work, mended, improved = resume.number, resume.work, resume.mended, resume.improved
    began = time.perf_counter() - (resume.seconds if resume else 0.0)
    all_work = sum(level.steps * level.height * level.width for level in levels)
    x: torch.Tensor | None = None
    before: Level | None = None
    for index, level in enumerate(levels, 1):
        if resume and index < resume.level:
            continue
        small = resize(picture.pixels, level.height, level.width).to(device)
        regions = regions_at(problem, level, config, device)
        objective = objective_of(config, backbone, small, regions, fits.side, at_level(problem.protect, level, device))
        descent, first = _descent(config, level, device), 0
        if resume and index == resume.level:
            first, x = resume.done, descent.restore(resume.tensors, device)
        elif x is None or before is None:
            x = starting_point(config, problem.named if start is None else start, small, regions[0].patterns[0].pixels)
        elif config.content_layers:
            x = enlarged(x, resize(picture.pixels, before.height, before.width).to(device), small)
        else:
            x = resize(x, level.height, level.width)
        before = level
        finish = partial(problem.finished, content=resize(problem.original.pixels, level.height, level.width))
        del small, regions  # pictures as large as the painting, and of no more use
        for k in range(first, level.steps):
            seen = x
            value, gradient = yield objective, x
            x, trouble = descent.step(x, value.total, gradient, value.parts, last=k == level.steps - 1)
            number, work, mended = number + 1, work + level.height * level.width, mended + bool(trouble)
            seconds = time.perf_counter() - began
            state = partial(_state, State(number, index, k + 1, work, seconds, mended, improved, {"x": x}), descent)
            yield Step(
                number, config.steps, index, len(levels), seen, value.total, value.terms, descent.best,
                number, seconds, work / all_work, trouble, mended, partial(descent.has_improved, improved), finish,
                state,
            )  # fmt: skip
        improved = descent.has_improved(improved)


def _state(state: State, descent: SafeguardedSolver) -> State:
    return state._replace(tensors={**state.tensors, **descent.state()})


def _descent(config: Config, level: Level, device: torch.device) -> SafeguardedSolver:
    safeguard = Safeguard(1 if device.type == "cpu" else LOOK)
    if config.optimizer == "adam":
        return SafeguardedSolver(Adam(config.rate), safeguard, config.clamp)
    spectrum = (
        SpectralPreconditioner(level.height, level.width, config.precondition, device) if config.precondition else None
    )
    solver = LBFGS(config.rate, min(config.history, level.steps), config.first_step, spectrum)
    return SafeguardedSolver(solver, safeguard, config.clamp)
