"""Prepare a run, make its steps, and return the painting; `paint` does all of it in one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from typing import Any, cast

from impasto.backbone.load import load_backbone, settled
from impasto.backbone.vgg import Backbone
from impasto.config import Config, Machine
from impasto.errors import ClusterError, SolverError
from impasto.images.read import Picture, Source, read, resize
from impasto.painting.arguments import combined, is_setting
from impasto.painting.cuda_graph import make_evaluator as default_evaluator
from impasto.painting.levels import read_pictures
from impasto.painting.loop import Loop, MakeEvaluator
from impasto.painting.memory import Plan, check_tile, plan_for
from impasto.painting.outcome import Painting, doubt_about, why_stopped
from impasto.painting.problem import Problem, prepare_problem
from impasto.painting.record import record_of
from impasto.painting.step import State, Step
from impasto.painting.subject import with_subject
from impasto.parsing import AUTO

__all__ = ["Resume", "Run", "paint", "paint_steps"]

LoadBackbone = Callable[[Config, Machine], Backbone]
# returns the state and the plan of an interrupted run
Resume = Callable[[Problem, Config, Backbone], "tuple[State, Plan] | None"]


@dataclass(frozen=True)
class Run:
    """A run that is ready to start: all decisions that precede the first step.

    Attributes:
        problem: the pictures, read and checked, and the levels.
        config: the settings.
        machine: device, precision, memory, and the plan's tile size.
        backbone: the network.
        plan: the tile size, and the memory that it needs.
        start: a picture that replaces the config's `start`.
        resume: the state from which the run is resumed; None: it begins at the start.
        make_evaluator: makes the evaluator of a level.

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
    make_evaluator: MakeEvaluator = default_evaluator

    @classmethod
    def prepare(
        cls,
        content: Source,
        style: Source | Sequence[Source],
        config: Config | None = None,
        machine: Machine | None = None,
        *,
        start: Source | Mapping[str, float] | None = None,
        named: Mapping[str, Source] | None = None,
        backbone: Backbone | str | LoadBackbone = load_backbone,
        plan: Callable[[Problem, Config, Machine, Backbone], Plan] = plan_for,
        resume: Resume | None = None,
        make_evaluator: MakeEvaluator = default_evaluator,
        **settings: Any,
    ) -> Run:
        """Prepare a run: read and check the pictures, load the network, plan the memory.

        Args:
            content: the content picture: a path, bytes, open file, PIL image, array or tensor.
            style: one style picture or several, which are blended.
            config: the settings; None: the defaults.
            machine: device, precision, memory and tiles; None: chosen automatically.
            start: the setting `start`, or a picture in memory.
            named: pictures in memory, by the names that the config has for them.
            backbone: the network or its name, or a function that loads it after the pictures have
                been checked. A network without a finisher makes all steps.
            plan: chooses the tile size.
            resume: returns the state and the plan of an interrupted run, or None if there is none.
            make_evaluator: makes the evaluator of a level.
            settings: fields of Config and Machine, which take precedence.

        Raises:
            ImpastoError: a setting or a picture is unusable, the network cannot be loaded, or the
                painting does not fit into memory.

        Example:
            run = Run.prepare("photo.jpg", "painting.jpg", size=1024)
            print(run.plan)
        """
        if isinstance(backbone, str):
            settings["backbone"], backbone = backbone, load_backbone
        if is_setting(start):
            settings["start"] = os.fspath(start) if isinstance(start, PathLike) else start
        config, machine, named = combined(config, machine, named, settings)
        loaded = backbone if isinstance(backbone, Backbone) else None
        config = settled(config, machine, loaded)
        picture, styles = read_pictures(content, style, config)
        first = None if start is None or is_setting(start) else read(cast(Source, start))
        # bad pictures fail before a network is downloaded
        problem = prepare_problem(picture, styles, config, named)
        check_tile(problem, config, machine)
        network = loaded or cast(LoadBackbone, backbone)(config, machine)
        resumed = resume(problem, config, network) if resume else None  # sets its threads
        if config.protect == AUTO:
            problem = with_subject(problem, network)
        state, planned = resumed or (None, plan(problem, config, machine, network))
        # recorded, so that `--from` uses the same tiles
        machine = machine.changed(tile=planned.tile_size or machine.tile)
        return cls(problem, config, machine, network, planned, first, state, make_evaluator)

    @cached_property
    def record(self) -> dict[str, Any]:
        """The record for the painting's file, without the results."""
        return record_of(self.problem, self.config, self.machine, self.backbone, self.start)

    def loop(self) -> Loop:
        """Return the run's ask-and-tell loop, to evaluate it in a batch or on other machines."""
        return Loop(
            self.problem,
            self.config,
            self.backbone,
            self.plan,
            self.make_evaluator,
            self.start,
            self.resume,
        )

    def steps(self) -> Iterator[Step]:
        """Yield a Step after every solver step; to stop the run, stop iterating."""
        loop = self.loop()
        while (point := loop.ask()) is not None:
            yield loop.tell(*loop.evaluator.evaluate(point))

    def painting(self, last: Step, stopped: str = "", notes: Sequence[str] = ()) -> Painting:
        """Return the painting of a run, at full size.

        Args:
            last: the run's last step.
            stopped: why the run ended early, or "".
            notes: added to the painting's notes.
        """
        content, (height, width) = self.problem.original, self.problem.levels[-1][:2]
        value = float(last.best.value)
        terms = dict(zip(last.terms, last.best.term_values.tolist(), strict=True))
        pixels = resize(last.best.point.clamp(0, 1).cpu(), height, width)
        return Painting(
            pixels=self.problem.recolored(pixels, resize(content.pixels, height, width)),
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
            metadata=content.metadata,
        )

    def paint(self, on_step: Callable[[Step], object] | None = None) -> Painting:
        """Make all steps and return the painting.

        The run ends early on Ctrl-C, if memory runs out, if the cluster fails, or if the objective
        is not finite at the first point of a level. The painting then has the best picture so far.

        Args:
            on_step: called with every Step.
        """
        last: Step | None = None
        notes, stopped = [], ""
        try:
            for last in self.steps():
                if last.note:
                    notes.append(last.note)
                if on_step:
                    on_step(last)
        # RuntimeError: torch's, where memory runs out; all others are raised again
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
    start: Source | Mapping[str, float] | None = None,
    backbone: Backbone | str | None = None,
    named: Mapping[str, Source] | None = None,
    on_step: Callable[[Step], object] | None = None,
    **settings: Any,
) -> Painting:
    """Paint `content` in the style of `style` and return the best picture found.

    The run ends early on Ctrl-C, if memory runs out, or if the objective is not finite at the first
    point of a level. The painting then has the best picture so far, at full size, and its
    `stopped` the reason.

    Args:
        content: a path, the bytes of a file, an open file (io.BytesIO), a PIL image, a NumPy array
            (H, W, 3) or a tensor (3, H, W). Integers are 0 to 255, floats 0 to 1.
        style: one such picture or several, which are blended.
        config: the settings; None: the defaults.
        machine: device, precision, memory and tiles; None: chosen automatically.
        start: the setting `start`, or a picture in memory.
        backbone: a network by its name, or loaded; None: the config's is loaded.
        named: pictures in memory, by the names that the config has for them (masks, palette ...).
        on_step: called with every Step.
        settings: fields of Config and Machine, which take precedence over `config` and `machine`.
            A picture in memory can take the place of a path: `protect=image`,
            `mask=[(mask, style)]`.

    Returns:
        The painting: its pixels, its objective, statistics of the run, and the settings.

    Raises:
        ImpastoError: a setting or a picture is unusable, the network cannot be loaded, or the
            painting does not fit into memory; before the first step.
        SolverError: the objective is not finite at the start.

    Example:
        paint("photo.jpg", "painting.jpg", size=512, look="bold").save("out.png")
    """
    return Run.prepare(
        content,
        style,
        config,
        machine,
        start=start,
        named=named,
        backbone=backbone or load_backbone,
        **settings,
    ).paint(on_step)


def paint_steps(
    content: Source,
    style: Source | Sequence[Source],
    config: Config | None = None,
    machine: Machine | None = None,
    *,
    start: Source | Mapping[str, float] | None = None,
    backbone: Backbone | str | None = None,
    named: Mapping[str, Source] | None = None,
    **settings: Any,
) -> Iterator[Step]:
    """Yield a Step after every solver step; to stop the run, stop iterating.

    Args:
        content: a path, the bytes of a file, an open file (io.BytesIO), a PIL image, a NumPy array
            (H, W, 3) or a tensor (3, H, W). Integers are 0 to 255, floats 0 to 1.
        style: one such picture or several, which are blended.
        config: the settings; None: the defaults.
        machine: device, precision, memory and tiles; None: chosen automatically.
        start: the setting `start`, or a picture in memory.
        backbone: a network by its name, or loaded; None: the config's is loaded.
        named: pictures in memory, by the names that the config has for them (masks, palette ...).
        settings: fields of Config and Machine, which take precedence over `config` and `machine`.
            A picture in memory can take the place of a path: `protect=image`,
            `mask=[(mask, style)]`.

    Yields:
        The Steps of the run; `step.image` is the best picture so far.

    Raises:
        ImpastoError: a setting or a picture is unusable, the network cannot be loaded, or the
            painting does not fit into memory; when the first Step is requested.
        SolverError: the objective is not finite at the start.

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
        **settings,
    ).steps()
