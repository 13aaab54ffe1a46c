"""`impasto resume`: continue an interrupted painting or batch."""

from __future__ import annotations

import os
from pathlib import Path

import click

from impasto.cli import options
from impasto.cli.run_folder import (
    RECORD,
    RunRecord,
    RunSpec,
    check_trusted,
    lock_folder,
    read_record,
)
from impasto.errors import CheckpointError, ConfigError


@click.command()
@click.argument("folder")
@click.option(
    "--trust",
    is_flag=True,
    help="resume although no run of yours wrote the folder, which may name any file and any "
    "cluster",
)
@options.quiet
@options.json_output
def resume(folder: str, trust: bool, quiet: bool, as_json: bool) -> int:
    """Continue what `paint --checkpoint FOLDER` or `batch -o FOLDER` began.

    The pictures are the same as without the interruption.
    """
    from impasto.batch.spec import is_batch, load_spec
    from impasto.cli.commands.batch import paint_batch

    path = Path(folder).absolute()
    if is_batch(path):
        if as_json:
            raise ConfigError(
                f"--json is for one painting, and {folder} is a batch's: see its manifest.jsonl",
                folder,
            )
        return paint_batch(load_spec(path, trust), str(path), quiet)
    record = read_record(path)
    if not record.finished:
        with lock_folder(str(path)):
            record = read_record(path)  # again: another run may have finished it
            if not record.finished:
                if not trust:
                    check_trusted(record, path)
                return _resume(record, path, quiet, as_json)
    picture = record.paths["picture"]
    if not os.path.exists(picture):
        raise CheckpointError(
            f"{folder} is finished, and its painting {picture} is gone: the same `impasto "
            "paint` command paints it again",
            picture,
        )
    click.echo(f"{folder} is finished: the painting is {picture}", err=as_json)
    return 0


def _resume(record: RunRecord, path: Path, quiet: bool, as_json: bool) -> int:
    """Paint the rest of a run; return the exit code. Raises CheckpointError."""
    from impasto.cli.outputs import check_outputs
    from impasto.cli.terminal import paint_spec
    from impasto.images.write import FileOptions
    from impasto.painting.callbacks import Snapshots
    from impasto.painting.record import recorded_settings

    try:
        config, machine = recorded_settings(record.model_dump())
    except ConfigError as error:
        raise CheckpointError(f"{path / RECORD} cannot be resumed: {error}", error.value) from None
    paths = record.paths  # before the current folder changes
    try:
        os.chdir(record.folder)
    except OSError as error:
        gone = f"the folder that it was begun in is gone: {record.folder} ({error.strerror})"
        raise CheckpointError(gone, record.folder) from None
    at_steps = Snapshots(record.snapshots.every, tuple(record.snapshots.at))
    written = FileOptions(record.file.depth, record.file.metadata)
    spec = RunSpec(
        tuple(record.pictures),
        config,
        machine,
        check_outputs(**paths, at_steps=at_steps, steps=config.steps, options=written),
        record.folder,
        record.engine,
        record.address,
    )
    return paint_spec(spec, path, quiet, as_json)
