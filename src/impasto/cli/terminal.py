"""Paint one picture from the command line: progress bar, checkpoints, output files."""

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
from impasto.painting.checkpoint import Checkpoints, load
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
    from impasto.painting.checkpoint import Checkpoint
    from impasto.painting.memory import Plan
    from impasto.painting.problem import Problem
    from impasto.painting.step import State, Step

__all__ = ["load_with_bar", "paint_spec", "run", "save_all"]


def load_with_bar(console: Console, config: Config, machine: Machine) -> Backbone:
    """Load the config's network, with a progress bar if it is downloaded."""
    with downloading(console, config.backbone) as progress:
        return load_backbone(config, machine, progress)


def run(
    console: Console,
    pictures: Sequence[Picture],
    config: Config,
    machine: Machine,
    backbone: Backbone | None = None,
    callbacks: Callable[[Run], list[StepCallback]] | None = None,
    title: str = "",
    keep: Path | None = None,
    workers: TileWorkers | None = None,
    log: Log | None = None,
    saved: Callable[[int], object] | None = None,
) -> Painting:
    """Paint pictures[0] in the style of the others, with a progress bar.

    The first Ctrl-C or SIGTERM ends the run after its current step.

    Args:
        console: for the bar and messages.
        pictures: the content and its styles.
        config, machine: the settings.
        backbone: a loaded network; None: the config's is loaded.
        callbacks: makes more callbacks for the prepared run.
        title: a prefix of the line above the bar.
        keep: a folder for checkpoints; a run with a checkpoint there is resumed.
        workers: evaluate the tiles on a cluster.
        log: receives messages about checkpoints; None: the console does.
        saved: called with the step of each checkpoint that was written.
    """
    log = log or partial(console.print, markup=False)
    prepared = _prepare(console, pictures, config, machine, backbone, keep, workers, log)
    title += _title(prepared, str(workers or prepared.backbone.device))
    with painting(console, title) as bar, GracefulShutdown() as shutdown:
        all_callbacks = [bar, *(callbacks(prepared) if callbacks else [])]
        if keep:
            all_callbacks.append(_saving(Checkpoints(keep, prepared), shutdown, log, saved))
        painted = prepared.paint(partial(_call, all_callbacks, shutdown))
    if workers:
        return replace(painted, settings={**painted.settings, "device": workers.device})
    return painted


def _prepare(
    console: Console,
    pictures: Sequence[Picture],
    config: Config,
    machine: Machine,
    backbone: Backbone | None,
    keep: Path | None,
    workers: TileWorkers | None,
    log: Log,
) -> Run:
    """Prepare a run, print the notes on its pictures, and log the step that it is resumed from."""
    resumed: list[str] = []

    def resume(problem: Problem, config: Config, backbone: Backbone) -> tuple[State, Plan] | None:
        checkpoint = _load(keep, problem, config, backbone) if keep else None
        if checkpoint is None:
            return None
        resumed.append(checkpoint.note or f"resuming after step {checkpoint.state.number}")
        return checkpoint.state, checkpoint.plan

    prepared = Run.prepare(
        pictures[0],
        pictures[1:],
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
    for message in resumed:
        log(message)
    return prepared


def _call(callbacks: Sequence[StepCallback], shutdown: GracefulShutdown, step: Step) -> None:
    """Call all callbacks with a step, and then end the run if that was requested."""
    for callback in callbacks:
        callback(step)
    if step.number < step.steps:
        shutdown.raise_if_requested()


def _saving(
    checkpoints: Checkpoints,
    shutdown: GracefulShutdown,
    log: Log,
    saved: Callable[[int], object] | None,
) -> StepCallback:
    """Make a callback that writes checkpoints, and one in any case before the run is stopped."""

    def save(step: Step) -> None:
        if step.number == step.steps:
            return  # the run has ended
        if checkpoints.try_save(step, log, now=shutdown.asked) and saved:
            saved(step.number)

    return save


def _title(run: Run, where: str) -> str:
    """Describe the network, device, steps and memory of a run in one line."""
    dtype = str(run.backbone.dtype).removeprefix("torch.")
    config = run.config
    return (
        f"{run.backbone.weights.name} on {where}, {dtype}, {config.steps} steps of "
        f"{config.optimizer}; {run.plan}"
    )


def _load(folder: Path, problem: Problem, config: Config, backbone: Backbone) -> Checkpoint | None:
    """Load a run's checkpoint; errors say how to begin anew."""
    try:
        return load(folder, problem, config, backbone)
    except CheckpointError as error:
        both = f"{folder / NAME} and {BEFORE} beside it"
        raise CheckpointError(
            f"{error}; without {both} the painting is begun anew", error.value
        ) from error


def paint_spec(spec: RunSpec, folder: Path | None, quiet: bool, as_json: bool) -> int:
    """Paint a picture, and write all its output files.

    Args:
        spec: the run.
        folder: for checkpoints; a run with a checkpoint there is resumed. None: no checkpoints.
        quiet: print errors only.
        as_json: print the result as JSON.

    Returns:
        The exit code.
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
        _tile_workers(console, spec) as workers,
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
        save_all(painted, inputs, outputs, film)
    code = report(painted, outputs, quiet, as_json)
    if folder and painted.finished:
        mark_finished(folder, spec)
    if folder and not painted.finished:
        log(f"`impasto resume {folder}` continues it")
    return code


@contextmanager
def _tile_workers(console: Console, spec: RunSpec) -> Iterator[TileWorkers | None]:
    """Start workers on a cluster for the tiles of a painting, if the spec asks for it."""
    if spec.engine != "ray":
        yield None
        return
    from impasto.cluster.distributed import tile_workers
    from impasto.cluster.ray_cluster import connected

    with downloading(console, spec.config.backbone) as progress:
        weights = load_weights(spec.config.backbone, progress)
    with connected(spec.address), tile_workers(spec.config, spec.machine, weights) as workers:
        yield workers


def save_all(
    painting: Painting, inputs: list[Picture], outputs: Outputs, film: Film | None = None
) -> None:
    """Save a painting, and then its film and figure.

    Args:
        painting: the painting.
        inputs: its content and styles, for the figure.
        outputs: the files.
        film: the film of the run, if one is to be written.

    Raises:
        OutputError: a file could not be written; the message says where the painting is.
    """
    _save(painting, outputs.picture)
    writers: list[Callable[[], object]] = []
    if film:
        writers.append(partial(film.write, painting.pixels))
    if outputs.figure:
        writers.append(partial(sheet, painting, inputs, outputs.figure))
    failed = []
    for write in writers:
        try:
            write()
        except OutputError as error:
            failed.append(error)
    if failed:
        reasons = "; ".join(map(str, failed))
        raise OutputError(
            f"{reasons}; the painting is in {outputs.picture}", failed[0].value
        ) from failed[0]


def _save(painting: Painting, target: Path) -> None:
    """Save the painting; if that fails, save it in a temporary folder and raise OutputError."""
    try:
        painting.save(target)
    except OutputError as error:
        try:
            folder = tempfile.mkdtemp(prefix="impasto-")
            elsewhere = painting.save(Path(folder) / f"{target.stem}.png")
        except (OutputError, OSError) as other:
            raise OutputError(
                f"{error}; nor could the painting be saved elsewhere: {other}", str(target)
            ) from error
        raise OutputError(f"{error}; the painting was saved as {elsewhere}", str(target)) from error
