"""`impasto resume`: go on with a painting or a batch that was cut off."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from impasto.cli.run_folder import JOB, RunRecord, RunSpec, check_typed, hold_folder, read_job
from impasto.errors import CheckpointError, ConfigError

__all__ = ["resume"]


@click.command()
@click.argument("folder")
@click.option(
    "--trust",
    is_flag=True,
    help="do what the folder says although no run of yours wrote it: it may name any file and "
    "any cluster",
)
@click.option("--quiet", is_flag=True, help="say nothing but errors")
@click.option("--json", "as_json", is_flag=True, help="print the result as one line of JSON")
def resume(folder: str, trust: bool, quiet: bool, as_json: bool) -> int:
    """Go on with what `paint --checkpoint FOLDER` or `batch -o FOLDER` began; it ends with the same
    pictures."""
    from impasto.batch.spec import is_batch, load_spec
    from impasto.cli.commands.batch import carry_out as carry_out_batch

    path = Path(folder).absolute()
    if is_batch(path):
        if as_json:
            raise ConfigError(
                f"--json is of one painting, and {folder} is a batch's: see its manifest.jsonl",
                folder,
            )
        return carry_out_batch(load_spec(path, trust), str(path), quiet)
    if not read_job(path).finished:
        with hold_folder(str(path)):
            job = read_job(path)
            if not job.finished:  # by the run that had the folder until now
                return _go_on(job, path, trust, quiet, as_json)
    picture = read_job(path).paths["picture"]
    if not os.path.exists(picture):
        raise CheckpointError(
            f"{folder} is finished, and its painting {picture} is gone: the same `impasto "
            "paint` command makes it anew",
            picture,
        )
    click.echo(f"{folder} is finished: the painting is {picture}", err=as_json)
    return 0


def _go_on(job: RunRecord, path: Path, trust: bool, quiet: bool, as_json: bool) -> int:
    """Paint what is left of a job; the exit code. Raises CheckpointError."""
    from impasto.cli.outputs import check_outputs
    from impasto.cli.terminal import carry_out
    from impasto.config import Config, Machine
    from impasto.painting.callbacks import Snapshots

    check_typed(job, path, trust)
    settings: dict[str, Any] = dict(job.config)
    limits: dict[str, Any] = dict(job.machine)
    try:
        config, machine = Config(**settings), Machine(**limits)
    except ConfigError as error:
        raise CheckpointError(f"cannot resume from {path / JOB}: {error}", error.value) from None
    paths = job.paths
    try:
        os.chdir(job.folder)
    except OSError as error:
        gone = f"the folder that it was begun in is gone: {job.folder} ({error.strerror})"
        raise CheckpointError(gone, job.folder) from None
    kept = Snapshots(job.snapshots.every, tuple(job.snapshots.at))
    outputs = check_outputs(**paths, kept=kept, steps=config.steps)
    spec = RunSpec(
        tuple(job.pictures), config, machine, outputs, job.folder, job.engine, job.address
    )
    return carry_out(spec, path, quiet, as_json)
