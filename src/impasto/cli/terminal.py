"""One painting on a terminal: the network with its download, the plan, the bar, the callbacks."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from impasto.backbone.load import load_backbone
from impasto.backbone.weights import load as load_weights
from impasto.cli.outputs import report, sheet
from impasto.cli.progress_bar import downloading, make_console, painting
from impasto.cli.run_folder import FRAMES, RunSpec, mark_finished
from impasto.cli.signals import GracefulShutdown
from impasto.errors import CheckpointError, OutputError
from impasto.images.read import read
from impasto.objective.objective import Objective
from impasto.painting.checkpoint import Checkpoint, Checkpoints, load
from impasto.painting.checkpoint_file import BEFORE, NAME
from impasto.painting.memory import plan_for, tune_allocator
from impasto.painting.outcome import Painting
from impasto.painting.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from impasto.backbone.vgg import Backbone
    from impasto.cli.outputs import Outputs
    from impasto.cluster.distributed import TileWorkers
    from impasto.config import Config, Machine
    from impasto.figures.timelapse import Film
    from impasto.images.read import Picture
    from impasto.painting.callbacks import Log, StepCallback
    from impasto.painting.memory import Plan
    from impasto.painting.problem import Problem
    from impasto.painting.step import State, Step

__all__ = ["carry_out", "load_with_bar", "run", "save", "save_more"]


def load_with_bar(console: Console, config: Config, machine: Machine) -> Backbone:
    """The config's network; a download shows its bar."""
    with downloading(console, config.backbone) as progress:
        return load_backbone(config, machine, progress)


def run(
    console: Console,
    pictures: Sequence[Picture],
    config: Config,
    machine: Machine,
    backbone: Backbone | None = None,
    callbacks: Callable[[Run], list[StepCallback]] | None = None,
    about: str = "",
    keep: Path | None = None,
    workers: TileWorkers | None = None,
    log: Log | None = None,
    saved: Callable[[int], object] | None = None,
) -> Painting:
    """Paint pictures[0] in the style of the others with a progress bar.

    Ctrl-C, or SIGTERM, ends it after its step.

    Args:
        console: where the bar and the notes go.
        pictures: the content and its styles.
        config, machine: the settings.
        backbone: a loaded network; None: the config's is loaded.
        callbacks: makes what else is called with every step, once the run is prepared.
        about: what the line above the bar begins with.
        keep: a folder for checkpoints; where there is one the run goes on from it.
        workers: evaluate the tiles on a cluster.
        log: told of checkpoints that cannot be read or written; None: the console is.
        saved: called with the step of each checkpoint that was written.
    """
    content, *styles = pictures
    log = log or partial(console.print, markup=False)
    resumed: list[Checkpoint] = []

    def resume(problem: Problem, config: Config, backbone: Backbone) -> tuple[State, Plan] | None:
        found = _checkpoint(keep, problem, config, backbone) if keep else None
        resumed.extend([found] if found else [])
        return found and (found.state, found.plan)

    prepared = Run.prepare(
        content,
        styles,
        config,
        machine,
        resume=resume,
        backbone=workers.backbone if workers else backbone or partial(load_with_bar, console),
        plan=workers.plan_for if workers else plan_for,
        make_evaluator=workers.objective if workers else Objective,
    )
    tune_allocator(prepared.plan, prepared.backbone.device)
    for note in prepared.problem.notes:
        console.print(note, markup=False, soft_wrap=True)
    for found in resumed:
        log(found.note or f"resuming after step {found.state.number}")
    title = f"{about}{_title(prepared, str(workers) if workers else str(prepared.backbone.device))}"
    with painting(console, title) as bar, GracefulShutdown() as stopping:
        all_callbacks = [bar, *(callbacks(prepared) if callbacks else [])]
        if keep:
            all_callbacks.append(_saving(Checkpoints(keep, prepared), stopping, log, saved))
        painted = prepared.paint(partial(_call, all_callbacks, stopping))
    return _painted_by(workers, painted) if workers else painted


def _painted_by(workers: TileWorkers, painting: Painting) -> Painting:
    return replace(painting, settings={**painting.settings, "device": workers.device})


def _call(callbacks: Sequence[StepCallback], stopping: GracefulShutdown, step: Step) -> None:
    """Call everything with a step, then end the run if that was asked for."""
    for callback in callbacks:
        callback(step)
    if step.number < step.steps:
        stopping.raise_if_requested()


def _saving(
    checkpoints: Checkpoints,
    stopping: GracefulShutdown,
    log: Log,
    saved: Callable[[int], object] | None,
) -> StepCallback:
    """A callback that writes checkpoints, one at once where the run is to end."""

    def save(step: Step) -> None:
        if step.number == step.steps:
            return  # the run has ended
        if checkpoints.try_save(step, log, now=stopping.asked) and saved:
            saved(step.number)

    return save


def _title(run: Run, where: str) -> str:
    """What is painted with, where and how, in one line."""
    dtype = str(run.backbone.dtype).removeprefix("torch.")
    config = run.config
    return (
        f"{run.backbone.weights.name} on {where}, {dtype}, {config.steps} steps of "
        f"{config.optimizer}; {run.plan}"
    )


def _checkpoint(
    folder: Path, problem: Problem, config: Config, backbone: Backbone
) -> Checkpoint | None:
    try:
        return load(folder, problem, config, backbone)
    except CheckpointError as error:
        both = f"{folder / NAME} and {BEFORE} beside it"
        raise CheckpointError(
            f"{error}; without {both} the painting is begun anew", error.value
        ) from error


def carry_out(spec: RunSpec, folder: Path | None, quiet: bool, as_json: bool) -> int:
    """Paint, with all that was asked for beside; the exit code.

    `folder` keeps checkpoints, and may hold one to go on from.
    """
    # before the network is loaded: bad pictures fail at once
    inputs = [read(picture) for picture in spec.pictures]
    console, outputs = make_console(quiet or as_json), spec.outputs

    def log(message: str) -> None:
        if console.quiet:
            click.echo(f"impasto: {message}", err=True)
        else:
            console.print(message, markup=False, soft_wrap=True)

    frames = folder / FRAMES if folder else None
    with (
        outputs.film(inputs[0], spec.config, frames) or nullcontext() as film,
        _elsewhere(console, spec) as workers,
    ):
        painted = run(
            console,
            inputs,
            spec.config,
            spec.machine,
            callbacks=lambda run: outputs.callbacks(run, film, log),
            keep=folder,
            workers=workers,
            log=log,
            saved=film.saved if film else None,
        )
        save(painted, outputs.picture)
        save_more(painted, inputs, outputs, film)
    code = report(painted, outputs, quiet, as_json)
    if folder and painted.finished:
        mark_finished(folder, spec)
    if folder and not painted.finished:
        log(f"`impasto resume {folder}` goes on with it")
    return code


@contextmanager
def _elsewhere(console: Console, spec: RunSpec) -> Iterator[TileWorkers | None]:
    """Those who evaluate the tiles of a painting on a cluster, if that is wanted."""
    if spec.engine != "ray":
        yield None
        return
    from impasto.cluster.distributed import tile_workers
    from impasto.cluster.ray_cluster import connected

    with downloading(console, spec.config.backbone) as progress:
        weights = load_weights(spec.config.backbone, progress)
    with connected(spec.address), tile_workers(spec.config, spec.machine, weights) as workers:
        yield workers


def save(painting: Painting, target: Path) -> None:
    """Save the painting; where that fails although it could be done before, it is not lost but
    saved elsewhere."""
    try:
        painting.save(target)
    except OutputError as error:
        try:
            elsewhere = painting.save(
                Path(tempfile.mkdtemp(prefix="impasto-")) / f"{target.stem}.png"
            )
        except (OutputError, OSError) as other:
            raise OutputError(
                f"{error}; nor could the painting be saved elsewhere: {other}", str(target)
            ) from error
        raise OutputError(f"{error}; the painting was saved as {elsewhere}", str(target)) from error


def save_more(
    painting: Painting, inputs: list[Picture], outputs: Outputs, film: Film | None
) -> None:
    """What was asked for beside the painting, which is safe by now."""

    failed = []
    for write in (
        film and partial(film.write, painting.pixels),
        outputs.figure and partial(sheet, painting, inputs, outputs.figure),
    ):
        try:
            if write:
                write()
        except OutputError as error:
            failed.append(error)
    if failed:
        reasons = "; ".join(map(str, failed))
        raise OutputError(
            f"{reasons}; the painting is in {outputs.picture}", failed[0].value
        ) from failed[0]
