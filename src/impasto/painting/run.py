"""A run that is ready to start, and painting in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from impasto.backbone.load import load_backbone
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.errors import ClusterError, SolverError
from impasto.images.read import Picture, Source, read, resize
from impasto.images.write import to_image, write
from impasto.objective.objective import Objective
from impasto.painting.levels import read_all
from impasto.painting.loop import Loop, MakeEvaluator
from impasto.painting.memory import Plan, check_tile, plan_for
from impasto.painting.outcome import doubt_about, why_stopped
from impasto.painting.problem import Problem, prepare_problem
from impasto.painting.record import record_of
from impasto.painting.step import State, Step

__all__ = ["Painting", "Run", "paint", "paint_steps"]

Resume = Callable[[Problem, Config, Backbone], "tuple[State, Plan] | None"]


@dataclass(frozen=True)
class Painting:
    """A painting: pixels (1, 3, H, W) float32 in [0, 1], alpha (1, 1, H, W) or None, and how it
    came about.

    value and terms: the objective and its weighted terms at this picture, the best of its level.
    steps, evaluations and seconds: of the whole run. stopped: why the run ended early, or "".
    notes: what went wrong and was mended.
    doubt: why this is hardly the painting that was meant, although every step was made, or "".
    settings: what the file will carry.
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
        """Write the painting with its settings inside; the format is the suffix's. Raises
        OutputError."""
        return write(self.image, path, self.settings)


@dataclass(frozen=True)
class Run:
    """A painting that is ready to start: all that is decided before its first step.

    problem: what is painted. config: how. machine: where, with the plan's tile. backbone: the
    network. plan: how it fits into memory. start: the picture to start from, in place of the
    config's. resume: the state that it goes on from. evaluator_of: makes the objective of a level.

    Example:
        run = Run.prepare("photo.jpg", "painting.jpg", Config(steps=60))
        for step in run.steps():
            print(step.number, float(step.value))
        run.painting(step).save("out.png")
    """

    problem: Problem
    config: Config
    machine: Machine
    backbone: Backbone = field(repr=False)
    plan: Plan
    start: Picture | None = None
    resume: State | None = None
    evaluator_of: MakeEvaluator = Objective

    @classmethod
    def prepare(
        cls,
        content: Source,
        style: Source | Sequence[Source],
        config: Config | None = None,
        machine: Machine | None = None,
        *,
        start: Source | None = None,
        named: Mapping[str, Source] | None = None,
        backbone: Backbone | Callable[[Config, Machine], Backbone] = load_backbone,
        plan: Callable[[Problem, Config, Machine, Backbone], Plan] = plan_for,
        resume: Resume | None = None,
        evaluator_of: MakeEvaluator = Objective,
    ) -> Run:
        """Decide all that is decided before the first step: what is wrong is said here.

        Args:
            content, style, config, machine, start, named: as `paint` takes them.
            backbone: the network, or a function that loads it, called once the pictures have
                been read and checked. A network without a finisher makes all steps.
            plan: decides on the tiles that fit into memory.
            resume: finds the state and the plan of a run that was cut off; None: begin at the
            start.
            evaluator_of: makes the objective of a level.

        Raises:
            ImpastoError: for whatever the user can put right.
        """
        config, machine = config or Config(), machine or Machine()
        if isinstance(backbone, Backbone) and backbone.finisher is None:
            config = config.changed(finish=0)  # the given network makes all steps
        picture, styles = read(content), read_all(style)
        begun = None if start is None else read(start)
        # before a network is downloaded for nothing
        problem = prepare_problem(picture, styles, config, named)
        check_tile(problem, config, machine)
        network = backbone if isinstance(backbone, Backbone) else backbone(config, machine)
        found = resume(problem, config, network) if resume else None
        state, planned = found or (None, plan(problem, config, machine, network))
        # so that `--from` cuts it alike
        machine = machine.changed(tile=planned.tile_size or machine.tile)
        return cls(problem, config, machine, network, planned, begun, state, evaluator_of)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What the painting's file will carry, but for what only its end tells."""
        return record_of(self.problem, self.config, self.machine, self.backbone, self.start)

    def loop(self) -> Loop:
        """The run by ask and tell, for who evaluates it together with others or elsewhere."""
        return Loop(
            self.problem,
            self.config,
            self.backbone,
            self.plan,
            self.start,
            self.resume,
            self.evaluator_of,
        )

    def steps(self) -> Iterator[Step]:
        """The run as a stream of Steps; to stop is to stop reading."""
        loop = self.loop()
        while (point := loop.ask()) is not None:
            yield loop.tell(*loop.evaluator.evaluate(point))

    def painting(self, last: Step, stopped: str = "", notes: Sequence[str] = ()) -> Painting:
        """The painting, at full size, of a run that ended with the step `last`; stopped: why it
        ended early."""
        content, (height, width) = self.problem.original, self.problem.levels[-1][:2]
        value = float(last.best.value)
        terms = dict(zip(last.terms, last.best.term_values.tolist(), strict=True))
        pixels = resize(last.best.point.clamp(0, 1).cpu(), height, width)
        return Painting(
            pixels=self.problem.finished(pixels, resize(content.pixels, height, width)),
            alpha=None if content.alpha is None else resize(content.alpha, height, width),
            config=self.config,
            value=value,
            terms=terms,
            steps=last.number,
            evaluations=last.evaluations,
            seconds=last.seconds,
            stopped=stopped,
            settings={**self.record, "steps_done": last.number, "objective": value, "terms": terms},
            notes=[*self.problem.notes, *notes],
            doubt="" if stopped else doubt_about(last.improved(), last.mended, last.number, terms),
        )

    def paint(self, on_step: Callable[[Step], object] | None = None) -> Painting:
        """Make all steps; Ctrl-C and what `paint` names end the run early, with what has been
        painted."""
        last: Step | None = None
        notes, stopped = [], ""
        try:
            for last in self.steps():
                if last.note:
                    notes.append(last.note)
                if on_step:
                    on_step(last)
        except (KeyboardInterrupt, SolverError, ClusterError, MemoryError, RuntimeError) as error:
            if last is None or not (stopped := why_stopped(error)):
                raise
        assert last is not None
        return self.painting(last, stopped, notes)


def paint(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    machine: Machine | None = None,
    *,
    start: Source | None = None,
    backbone: Backbone | None = None,
    named: Mapping[str, Source] | None = None,
    on_step: Callable[[Step], object] | None = None,
) -> Painting:
    """Paint `content` in the style of `style` and return the best picture found.

    Ctrl-C, too little memory for the next level, or an objective that is not finite there, end the
    run early: what has been painted is returned, at full size, and `stopped` says why.

    Args:
        content: a path, PIL image, NumPy array or tensor (see `images.read.read`).
        style: one such picture or several, which are blended.
        config: all settings; None: the defaults.
        machine: device, precision, memory and tiles; None: chosen here.
        start: a picture to start from, in place of the config's.
        backbone: a loaded network; None: the config's is loaded.
        named: pictures in memory, by the names that the config has for them (masks, palette ...).
        on_step: called with every Step.

    Returns:
        The painting: its pixels, how it came about, and the settings that its file will carry.

    Raises:
        ImpastoError: for whatever the user can put right, before the first step.

    Example:
        paint("photo.jpg", "painting.jpg", Config(size=512)).save("out.png")
    """
    return Run.prepare(
        content,
        style,
        config,
        machine,
        start=start,
        named=named,
        backbone=backbone or load_backbone,
    ).paint(on_step)


def paint_steps(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    machine: Machine | None = None,
    *,
    start: Source | None = None,
    backbone: Backbone | None = None,
    named: Mapping[str, Source] | None = None,
) -> Iterator[Step]:
    """The painting as a stream of Steps; to stop is to stop reading.

    Args:
        content, style, config, machine, start, backbone, named: as `paint` takes them.

    Returns:
        An iterator over the Steps of the run; `step.best.point` is the best picture so far.

    Raises:
        ImpastoError: for whatever the user can put right, when the first Step is asked for.

    Example:
        for step in paint_steps("photo.jpg", "painting.jpg"):
            print(step.number, float(step.value))
    """
    yield from Run.prepare(
        content,
        style,
        config,
        machine,
        start=start,
        named=named,
        backbone=backbone or load_backbone,
    ).steps()
