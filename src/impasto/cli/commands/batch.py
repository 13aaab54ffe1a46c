"""`impasto batch`: paint many pictures into one folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from impasto.batch.spec import BatchSpec, save_spec
from impasto.cli import options
from impasto.cli.exit_codes import DOUBTFUL, PARTLY, STOPPED
from impasto.config import Config, Machine, changed_by
from impasto.errors import OutputError
from impasto.presets import preset

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from impasto.batch.job import Inputs, Job
    from impasto.batch.scheduler import Scheduler


@click.command(cls=options.GroupedCommand)
@click.argument("contents", nargs=-1, metavar="CONTENTS ...")
@click.option(
    "--style",
    "styles",
    multiple=True,
    metavar="STYLES",
    help="a style picture, or a folder of them (not *.jpg: that would give one of them); may "
    "be given again",
)
@click.option(
    "-o", "--out", "folder", required=True, metavar="OUT", help="the folder for the paintings"
)
@click.option(
    "--pairs",
    default="all",
    metavar="all|zip|FILE.csv",
    help="every content in every style; the first in the first and so on; or a table with the "
    "columns content, style, out, preset and any setting [default: all]",
)
@options.preset
@options.depth
@options.metadata
@options.engine
@options.address
@options.quiet
def batch(
    contents: tuple[str, ...],
    styles: tuple[str, ...],
    folder: str,
    pairs: str,
    preset_name: str | None,
    depth: Literal[8, 16],
    metadata: Literal["basic", "all", "none"],
    engine: Literal["local", "ray"],
    address: str | None,
    quiet: bool,
    **values: Any,
) -> int:
    """Paint every picture of CONTENTS (pictures, folders) in every style, into the folder OUT.

    impasto batch photos/ --style paintings/ -o painted/

    The same command again paints what is missing or failed; a painting counts as done if it has
    the same pictures and settings, whatever its name. In a table, paths are relative to the current
    folder, and ; separates several styles or masks of one painting.
    """
    settings = options.given(values)
    spec = BatchSpec(
        list(contents),
        list(styles),
        pairs,
        preset_name or "default",
        settings,
        engine,
        address,
        depth,
        metadata,
    )
    return paint_batch(spec, folder, quiet)


options.add_settings(batch)


def paint_batch(spec: BatchSpec, folder: str, quiet: bool) -> int:
    """Paint the pictures of a batch that are not in its folder yet; return the exit code.

    Raises:
        ImpastoError: the batch cannot be begun, or its folder cannot be written to.
    """
    from impasto.batch.contact_sheets import write_contact_sheets
    from impasto.batch.progress import BatchProgress
    from impasto.batch.scheduler import Scheduler
    from impasto.batch.store import open_store
    from impasto.batch.table import list_jobs
    from impasto.cli.progress_bar import make_console
    from impasto.images.write import FileOptions, check_depth

    options.check_engine(spec.engine, spec.address)
    _check_folder(folder, spec)
    console = make_console(quiet)

    def settings_for(name: str, settings: dict[str, Any]) -> tuple[Config, Machine]:
        return changed_by({**spec.settings, **settings}, preset(name or spec.preset).config)

    notes: list[str] = []
    jobs = list_jobs(spec.contents, spec.styles, spec.pairs, settings_for, notes.append)
    for job in jobs:
        check_depth(job.name, spec.depth)
    inputs = _inputs(jobs, console)
    with BatchProgress(console) as progress, open_store(folder, progress.note) as store:
        for note in [] if quiet else notes:
            progress.note(note)
        save_spec(spec, Path(folder), progress.note)
        scheduler = Scheduler(store, progress, inputs, FileOptions(spec.depth, spec.metadata))
        scheduler.plan(jobs)
        sheets: list[Path] = []
        stopped = False
        try:
            _paint(scheduler, spec, progress.note)
            sheets = write_contact_sheets(store.folder, scheduler.results())
        except KeyboardInterrupt:
            stopped = True
        except OutputError as error:
            message = f"{error}; `impasto resume {folder}` continues it"
            raise OutputError(message, error.value) from error
        finally:
            progress.close()
            progress.summary(folder)
        for sheet in sheets if not quiet else ():
            click.echo(f"{sheet}  (contact sheet)")
        if stopped:
            click.echo(f"impasto: stopped; `impasto resume {folder}` continues it", err=True)
            return STOPPED
        return PARTLY if progress.failures else DOUBTFUL if progress.doubts else 0


def _inputs(jobs: Sequence[Job], console: Console) -> Inputs:
    """Make the cache of files and networks; networks are downloaded first."""
    from impasto.backbone.weight_files import Weights
    from impasto.backbone.weights import load
    from impasto.batch.job import Inputs
    from impasto.cli.progress_bar import download_bar

    def weights(name: str) -> Weights:
        with download_bar(console, name) as progress:
            return load(name, progress)

    inputs = Inputs(weights)
    for job in jobs:
        inputs.network(job.config)
    return inputs


def _check_folder(folder: str, spec: BatchSpec) -> None:
    """Check that a batch may be painted into `folder`. Raises OutputError."""
    from impasto.cli.run_folder import RECORD

    for path in (*spec.contents, *spec.styles):
        if os.path.isdir(path) and os.path.realpath(path) == os.path.realpath(folder):
            raise OutputError(
                f"{folder} is a folder of pictures to paint from: give another -o", folder
            )
    if os.path.exists(Path(folder) / RECORD):
        raise OutputError(f"{folder} holds the checkpoints of a painting: give another -o", folder)


def _paint(scheduler: Scheduler, spec: BatchSpec, note: Callable[[str], object]) -> None:
    """Run the scheduler, in this process or on a cluster. Raises KeyboardInterrupt if stopped."""
    from impasto.batch.local import LocalExecutor
    from impasto.cli.signals import GracefulShutdown

    if not scheduler.waiting:
        return
    if spec.engine == "local":
        with GracefulShutdown() as stop:
            scheduler.run(LocalExecutor(), stop)
        return
    from impasto.cluster.ray_cluster import connected
    from impasto.cluster.ray_executor import RayExecutor

    # in this order: Ray installs its own handler of SIGTERM
    with connected(spec.address), GracefulShutdown() as stop:
        scheduler.run(RayExecutor(note), stop)
