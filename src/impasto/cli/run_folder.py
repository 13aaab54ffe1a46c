"""The folder of `paint --checkpoint`: what the run was asked for, so that `resume` can go on with
it."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import click
from pydantic import BaseModel, ConfigDict, Field, StrictInt, TypeAdapter

from impasto.errors import CheckpointError, ConfigError, OutputError, reason
from impasto.locking import exclusive_lock
from impasto.records import ConfigRecord, Text, checked, parsed, read_regular
from impasto.signing import is_signed, key_file, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from impasto.cli.outputs import Outputs
    from impasto.config import Config, Machine

__all__ = [
    "FRAMES",
    "JOB",
    "RunRecord",
    "RunSpec",
    "check_typed",
    "hold_folder",
    "mark_finished",
    "open_run_folder",
    "read_job",
]

JOB = "job.json"
MOST_BYTES = 1 << 20  # of a job's file
FRAMES = ".impasto-film"  # the folder of a time-lapse's frames so far


class RunSpec(NamedTuple):
    """What a run of `paint` is to do: the pictures and the settings, the files that it leaves, and
    where to paint."""

    pictures: tuple[str, ...]
    config: Config
    machine: Machine
    outputs: Outputs
    folder: str  # that the paths begin at
    engine: str = "local"
    address: str | None = None


@contextmanager
def open_run_folder(folder: str | None, spec: RunSpec) -> Iterator[Path | None]:
    """Have a new run alone in `folder`, where it is written down so that `resume` can do it; None:
    nowhere.

    Raises ConfigError, OutputError.
    """
    if not folder:
        yield None
        return
    from impasto.batch.spec import is_batch

    if is_batch(Path(folder)):
        raise ConfigError(
            f"{folder} is the folder of a batch: give another one for --checkpoint", folder
        )
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}", folder) from error
    with hold_folder(folder):
        yield _begin(folder, spec)


@contextmanager
def hold_folder(folder: str) -> Iterator[None]:
    """Keep other runs out of a checkpoint folder. Raises OutputError if one has it, or nothing can
    be written there."""
    with ExitStack() as held:
        try:
            held.enter_context(exclusive_lock(Path(folder)))
        except BlockingIOError:
            raise OutputError(
                f"another run is painting with checkpoints in {folder}: wait for it", folder
            ) from None
        except OSError as error:
            raise OutputError(f"cannot write into {folder}: {error.strerror}", folder) from error
        yield


def _begin(folder: str, spec: RunSpec) -> Path:
    from impasto.painting.checkpoint_file import BEFORE, NAME, clear

    path = Path(folder)
    begun = (path / NAME).exists() or (path / BEFORE).exists()
    if begun and (path / JOB).exists() and not read_job(path).finished:
        raise ConfigError(
            f"{folder} holds a painting that is not finished: `impasto resume {folder}` goes "
            "on with it; "
            "give another folder to begin a new one",
            folder,
        )
    clear(path)
    shutil.rmtree(path / FRAMES, ignore_errors=True)
    _write_job(path, spec, finished=False)
    job = read_job(path)
    if job.untyped and (beyond := beyond_its_folder(job, path)):
        click.echo(
            f"impasto: {key_file()} cannot be written: as {JOB} names {beyond}, `impasto "
            f"resume {folder}` will need "
            "--trust",
            err=True,
        )
    return path


def mark_finished(folder: Path, spec: RunSpec) -> None:
    """Write down that it is done; the checkpoint and the film's frames are of no more use."""
    from impasto.painting.checkpoint_file import clear

    _write_job(folder, spec, finished=True)
    clear(folder)
    shutil.rmtree(folder / FRAMES, ignore_errors=True)


def _write_job(folder: Path, spec: RunSpec, finished: bool) -> None:
    from impasto.images.write import atomic_write

    job = {
        "pictures": spec.pictures,
        "config": spec.config.model_dump(mode="json"),
        "machine": spec.machine.model_dump(mode="json"),
        "outputs": {name: str(path) for name, path in spec.outputs.named().items()},
        "snapshots": spec.outputs.snapshots._asdict(),
        "engine": spec.engine,
        "address": spec.address,
        "folder": spec.folder,
        "finished": finished,
    }
    with atomic_write(folder / JOB) as part:
        part.write_text(json.dumps(signed(job), indent=1), encoding="utf-8")


class OutputRecord(BaseModel):
    """The files that a job leaves, by name."""

    model_config = ConfigDict(extra="forbid")

    picture: Text
    timelapse: Text | None = None
    figure: Text | None = None
    trace: Text | None = None


class SnapshotsRecord(BaseModel):
    """The steps whose pictures are kept beside the painting."""

    model_config = ConfigDict(extra="forbid")

    every: Annotated[StrictInt, Field(ge=0)]
    at: Annotated[list[StrictInt], Field(max_length=10_000)]


class RunRecord(BaseModel):
    """A run's file. untyped: nobody knows that this user has typed what is in it."""

    pictures: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    config: ConfigRecord
    machine: ConfigRecord
    outputs: OutputRecord
    snapshots: SnapshotsRecord
    engine: Literal["local", "ray"]
    address: Text | None
    folder: Text
    finished: bool
    untyped: bool

    @property
    def paths(self) -> dict[str, str]:
        """The outputs as they are found from the current folder."""
        named = {name: path for name, path in self.outputs.model_dump().items() if path is not None}
        if os.path.realpath(self.folder) == os.path.realpath("."):
            return named
        return {name: os.path.join(self.folder, path) for name, path in named.items()}


RECORDS = TypeAdapter(RunRecord)


def read_job(folder: Path) -> RunRecord:
    """The job of a folder. Raises CheckpointError."""
    try:
        found = parsed(read_regular(folder / JOB, MOST_BYTES))
        if not isinstance(found, dict):
            raise ValueError("it is not a job's record")
        return checked(RECORDS, {**found, "untyped": not is_signed(found)})
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} holds no painting to go on with: no {JOB} there", str(folder)
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder / JOB} cannot be read: {reason(error)}", str(folder)
        ) from None


def beyond_its_folder(job: RunRecord, folder: Path) -> str:
    """What a job names that only its user may: an output outside its folder, or a cluster's
    address; "" if nothing."""
    if job.address:
        return f"the cluster {job.address}"
    inside = Path(os.path.realpath(folder))
    for path in job.paths.values():
        real = Path(os.path.realpath(path))
        if inside not in real.parents:
            return f"{path}, which is outside its folder"
        if os.path.lexists(real) and not os.path.isfile(real):
            return f"{path}, which is not a regular file"
    return ""


def check_typed(job: RunRecord, folder: Path, trust: bool) -> None:
    """Whether what a job names is its user's to name. Raises CheckpointError."""
    if job.untyped and not trust and (beyond := beyond_its_folder(job, folder)):
        raise CheckpointError(
            f"{folder / JOB} was not written by a run of yours, or was changed since, and "
            f"names {beyond}: "
            f"`impasto resume {folder} --trust` does what it says",
            beyond,
        )
