"""One painting on a terminal: the network with its download, the plan, the bar, the readers."""

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
from impasto.cli.progress_bar import downloading, log, painting
from impasto.cli.run_folder import FRAMES, RunSpec, mark_finished
from impasto.cli.signals import GracefulShutdown
from impasto.errors import CheckpointError, OutputError
from impasto.images.read import read
from impasto.objective.objective import Objective
from impasto.painting.checkpoint import BEFORE, NAME, Checkpoint, Checkpoints, load
from impasto.painting.memory import fit
from impasto.painting.run import Painting, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from impasto.backbone.vgg import Backbone
    from impasto.cli.outputs import Outputs
    from impasto.cluster.distributed import TileWorkers
    from impasto.config import Config
    from impasto.figures.timelapse import Film
    from impasto.images.read import Picture
    from impasto.painting.callbacks import Reader, Say
    from impasto.painting.memory import Plan
    from impasto.painting.problem import Problem
    from impasto.painting.step import State, Step

__all__ = ["carry_out", "load_with_bar", "run", "save", "save_more"]


def load_with_bar(console: Console, config: Config) -> Backbone:
    """The config's network; a download shows its bar."""
    with downloading(console, config.backbone) as progress:
        return load_backbone(config, progress)


def run(
    console: Console,
    pictures: Sequence[Picture],
    config: Config,
    backbone: Backbone | None = None,
    readers: Callable[[Run], list[Reader]] | None = None,
    about: str = "",
    keep: Path | None = None,
    workers: TileWorkers | None = None,
    say: Say | None = None,
    saved: Callable[[int], object] | None = None,
) -> Painting:
    """Paint pictures[0] in the style of the others with a progress bar, under a line that begins
    with `about`.

    readers: makes the other readers of the run, once it is prepared. keep: a folder for
    checkpoints; where there is one the run goes on from it. tilers: who evaluate its tiles, on a
    cluster. say: is told of checkpoints that cannot be read or written. saved: is told the step of
    each that has been written. Ctrl-C, or SIGTERM, ends it after its step.
    """
    content, *styles = pictures
    resumed: list[Checkpoint] = []

    def resume(problem: Problem, config: Config, backbone: Backbone) -> tuple[State, Plan] | None:
        found = _checkpoint(keep, problem, config, backbone) if keep else None
        resumed.extend([found] if found else [])
        return found and (found.state, found.plan)

    prepared = Run.prepare(
        content,
        styles,
        config,
        resume=resume,
        backbone=workers.backbone if workers else backbone or partial(load_with_bar, console),
        plan=workers.fit if workers else fit,
        evaluator_of=workers.objective if workers else Objective,
    )
    for note in prepared.problem.notes:
        console.print(note, markup=False, soft_wrap=True)
    for found in resumed:
        if found.note:
            (say or console.print)(found.note)
        else:
            console.print(f"goes on after step {found.state.number}", markup=False)
    checkpoints = Checkpoints(keep, prepared) if keep else None
    title = f"{about}{_title(prepared, str(workers) if workers else str(prepared.backbone.device))}"
    with painting(console, title) as bar, GracefulShutdown() as stopping:
        all_readers = [bar, *(readers(prepared) if readers else [])]

        def read(step: Step) -> None:
            for reader in all_readers:
                reader(step)
            if step.number == step.steps:
                return  # it has ended
            if (
                checkpoints
                and checkpoints.keep(step, say or console.print, now=stopping.asked)
                and saved
            ):
                saved(step.number)
            stopping.raise_if_requested()

        painted = prepared.paint(read)
        return (
            replace(painted, settings={**painted.settings, "device": workers.device})
            if workers
            else painted
        )


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
    console, outputs = log(quiet or as_json), spec.outputs

    def say(message: str) -> None:
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
            readers=lambda run: outputs.readers(run, film, say),
            keep=folder,
            workers=workers,
            say=say,
            saved=film.saved if film else None,
        )
        save(painted, outputs.picture)
        save_more(painted, inputs, outputs, film)
    code = report(painted, outputs, quiet, as_json)
    if folder and painted.finished:
        mark_finished(folder, spec)
    if folder and not painted.finished:
        say(f"`impasto resume {folder}` goes on with it")
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
    with connected(spec.address), tile_workers(spec.config, weights) as workers:
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
