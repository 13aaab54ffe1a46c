"""Paint one picture from the command line: progress bar, checkpoints, output files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch
from rich.console import Console

from impasto.backbone.load import load_backbone, load_weights, unused_gpu
from impasto.backbone.vgg import Backbone
from impasto.backbone.weights import load as load_named
from impasto.cli.outputs import Outputs, report, write_contact_sheet
from impasto.cli.progress_bar import download_bar, make_console, note, painting_bar
from impasto.cli.run_folder import FRAMES, RunSpec, mark_finished
from impasto.cli.signals import GracefulShutdown
from impasto.cli.streams import picture_source, write_stdout
from impasto.config import Config, Machine
from impasto.errors import CheckpointError, OutputError
from impasto.figures.timelapse import Film
from impasto.images.read import Picture
from impasto.images.write import FileOptions
from impasto.painting.callbacks import Log, StepCallback
from impasto.painting.checkpoint import Checkpoint, Checkpoints, as_begun, load
from impasto.painting.checkpoint_file import BEFORE, NAME
from impasto.painting.cuda_graph import make_evaluator
from impasto.painting.levels import read_pictures
from impasto.painting.memory import Plan, plan_for
from impasto.painting.outcome import Painting
from impasto.painting.problem import Problem
from impasto.painting.run import Resume, Run
from impasto.painting.step import State, Step
from impasto.painting.tuning import tune_allocator, use_threads

if TYPE_CHECKING:
    from impasto.cluster.distributed import TileWorkers


def load_with_bar(console: Console, config: Config, machine: Machine) -> Backbone:
    """Load the config's network, with a progress bar if it is downloaded."""
    with download_bar(console, config.backbone) as progress:
        return load_backbone(config, machine, progress)


def prepare(
    console: Console,
    pictures: Sequence[Picture],
    config: Config,
    machine: Machine,
    backbone: Backbone | None = None,
    workers: TileWorkers | None = None,
    resume: Resume | None = None,
) -> Run:
    """Prepare a run, and print the notes on its pictures.

    Args:
        console: for the notes, and the progress of a download.
        pictures: the content and its styles.
        config, machine: the settings.
        backbone: a loaded network; None: the config's is loaded.
        workers: evaluate the tiles on a cluster.
        resume: returns the state and the plan of an interrupted run.
    """
    content, *styles = pictures
    use_threads(machine)
    prepared = Run.prepare(
        content,
        styles,
        config,
        machine,
        resume=resume,
        backbone=workers.backbone if workers else backbone or partial(load_with_bar, console),
        plan=workers.plan_for if workers else plan_for,
        make_evaluator=workers.objective if workers else make_evaluator,
    )
    tune_allocator(prepared.plan, prepared.backbone)
    unused = unused_gpu() if machine.device == "auto" else ""
    for message in (*([unused] if unused else []), *prepared.problem.notes):
        note(console, message)
    return prepared


def run(
    console: Console,
    prepared: Run,
    callbacks: Sequence[StepCallback] = (),
    shutdown: GracefulShutdown | None = None,
    title: str = "",
    where: str = "",
) -> Painting:
    """Make the steps of a run, with a progress bar.

    The first Ctrl-C or SIGTERM ends the run after its current step.

    Args:
        console: for the bar.
        prepared: the run.
        callbacks: called with every step.
        shutdown: the handler of these signals; None: a new one.
        title: a prefix of the line above the bar.
        where: the device in that line; "": the network's.
    """
    title += _title(prepared, where or str(prepared.backbone.device))
    shutdown = shutdown or GracefulShutdown()
    with painting_bar(console, title) as bar, shutdown:
        return prepared.paint(partial(_call, [bar, *callbacks], shutdown))


def _call(callbacks: Sequence[StepCallback], shutdown: GracefulShutdown, step: Step) -> None:
    """Call all callbacks with a step, and then end the run if that was requested."""
    for callback in callbacks:
        callback(step)
    if step.number < step.steps:
        shutdown.raise_if_requested()


def _title(run: Run, where: str) -> str:
    """Describe the network, device, steps and memory of a run in one line."""
    dtype = str(run.backbone.dtype).removeprefix("torch.")
    config = run.config
    return (
        f"{_networks(run)} on {where}, {dtype}, {config.steps} steps of "
        f"{config.optimizer}; {run.plan}"
    )


def _networks(run: Run) -> str:
    """The names of the networks that paint."""
    name, finisher = run.backbone.weights.name, run.backbone.finisher
    if finisher is None:
        return name
    return f"{name}, the last {run.config.finish_steps} {finisher.weights.name},"


def paint_spec(spec: RunSpec, folder: Path | None, quiet: bool, as_json: bool) -> int:
    """Paint a picture, and write all its output files.

    folder: for checkpoints; a run with a checkpoint there is resumed. None: no checkpoints.
    Returns the exit code.
    """
    if folder:
        spec = spec._replace(machine=as_begun(folder, spec.machine))
    # before the network is loaded: bad pictures fail at once
    first, *others = (picture_source(picture) for picture in spec.pictures)
    content, styles = read_pictures(first, others, spec.config)
    inputs = [content, *styles]
    console, outputs = make_console(quiet or as_json), spec.outputs
    frames = folder / FRAMES if folder else None
    with (
        outputs.film(inputs[0], spec.config, frames) or nullcontext() as film,
        _tile_workers(console, spec) as workers,
    ):
        painted = _paint(console, spec, inputs, folder, film, workers)
        save_all(painted, inputs, outputs, film)
    code = report(painted, outputs, quiet, as_json)
    if folder and painted.finished:
        mark_finished(folder, spec)
    elif folder:
        _log(console, f"`impasto resume {folder}` continues it")
    return code


def _paint(
    console: Console,
    spec: RunSpec,
    inputs: list[Picture],
    folder: Path | None,
    film: Film | None,
    workers: TileWorkers | None,
) -> Painting:
    """Paint a picture with all callbacks, from its checkpoint if there is one."""
    log = partial(_log, console)
    resumed: list[Checkpoint] = []

    def resume(problem: Problem, config: Config, backbone: Backbone) -> tuple[State, Plan] | None:
        checkpoint = _load(folder, problem, config, backbone) if folder else None
        if checkpoint is None:
            return None
        resumed.append(checkpoint)
        return checkpoint.state, checkpoint.plan

    prepared = prepare(console, inputs, spec.config, spec.machine, workers=workers, resume=resume)
    for checkpoint in resumed:
        log(checkpoint.note or f"resuming after step {checkpoint.state.number}")
    shutdown = GracefulShutdown()
    callbacks = spec.outputs.callbacks(prepared, film, log)
    if folder:
        callbacks.append(_saving(Checkpoints(folder, prepared), shutdown, log, film))
    if workers is None:
        return run(console, prepared, callbacks, shutdown)
    painted = run(console, prepared, callbacks, shutdown, where=str(workers))
    return replace(painted, settings={**painted.settings, "device": workers.device})


def _log(console: Console, message: str) -> None:
    """Print a message even if the console is quiet."""
    if console.quiet:
        click.echo(f"impasto: {message}", err=True)
    else:
        note(console, message)


def _load(folder: Path, problem: Problem, config: Config, backbone: Backbone) -> Checkpoint | None:
    """Load a run's checkpoint, and compute with as many threads; errors say how to begin anew."""
    try:
        return load(folder, problem, config, backbone, set_threads=torch.set_num_threads)
    except CheckpointError as error:
        both = f"{folder / NAME} and {BEFORE} beside it"
        raise CheckpointError(f"{error}; to begin anew, remove {both}", error.value) from error


def _saving(
    checkpoints: Checkpoints, shutdown: GracefulShutdown, log: Log, film: Film | None
) -> StepCallback:
    """Make a callback that writes checkpoints, and one in any case before the run is stopped."""

    def save(step: Step) -> None:
        if step.number == step.steps:
            return  # the run has ended
        if checkpoints.try_save(step, log, now=shutdown.asked) and film:
            film.saved(step.number)

    return save


@contextmanager
def _tile_workers(console: Console, spec: RunSpec) -> Iterator[TileWorkers | None]:
    """Start workers on a cluster for the tiles of a painting, if the spec asks for it."""
    if spec.engine != "ray":
        yield None
        return
    from impasto.cluster.distributed import TileWorkers
    from impasto.cluster.ray_cluster import connected

    with download_bar(console, spec.config.backbone) as progress:
        weights = load_weights(spec.config, partial(load_named, progress=progress))
    with (
        connected(spec.address),
        closing(TileWorkers(spec.config, spec.machine, weights)) as workers,
    ):
        yield workers


def save_all(
    painting: Painting, inputs: list[Picture], outputs: Outputs, film: Film | None = None
) -> None:
    """Save a painting, and then its film and figure.

    inputs: the content and the styles, for the figure. Raises OutputError if a file cannot be
    written; the message says where the painting is.
    """
    if outputs.streamed:
        with tempfile.TemporaryDirectory(prefix="impasto-") as folder:
            write_stdout(painting.save(Path(folder) / "painting.png", *outputs.options))
    else:
        _save(painting, outputs.picture, outputs.options)
    writers: list[Callable[[], object]] = []
    if film:
        writers.append(partial(film.write, painting.pixels))
    if outputs.figure:
        writers.append(partial(write_contact_sheet, painting, inputs, outputs.figure))
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


def _save(painting: Painting, target: Path, options: FileOptions) -> None:
    """Save the painting; if that fails, save it in a temporary folder and raise OutputError."""
    try:
        painting.save(target, *options)
    except OutputError as error:
        try:
            folder = tempfile.mkdtemp(prefix="impasto-")
            elsewhere = painting.save(Path(folder) / f"{target.stem}.png", *options)
        except (OutputError, OSError) as other:
            raise OutputError(
                f"{error}; nor could the painting be saved elsewhere: {other}", str(target)
            ) from error
        raise OutputError(f"{error}; the painting was saved as {elsewhere}", str(target)) from error
