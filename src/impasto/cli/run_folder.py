"""The folder of `paint --checkpoint`: a record of the run, from which `resume` continues it."""

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
from impasto.records import ConfigRecord, Text, parse_json, read_regular, validate
from impasto.signing import is_signed, key_file, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from impasto.cli.outputs import Outputs
    from impasto.config import Config, Machine

RECORD = "job.json"
MOST_BYTES = 1 << 20  # of that file
FRAMES = ".impasto-film"  # the folder for the frames of a time-lapse


class RunSpec(NamedTuple):
    """The arguments of `paint`: pictures, settings, output files, and where to paint.

    folder: the current folder, to which paths are relative. engine: "local" or "ray". address: of
    the Ray cluster; None: a new one.
    """

    pictures: tuple[str, ...]
    config: Config
    machine: Machine
    outputs: Outputs
    folder: str
    engine: str = "local"
    address: str | None = None


@contextmanager
def open_run_folder(folder: str | None, spec: RunSpec) -> Iterator[Path | None]:
    """Begin a new run in a checkpoint folder: lock it, and write the run's record for `resume`.

    Yields the folder's path, or None for a run without checkpoints.

    Raises:
        ConfigError: the folder is a batch's, or has an unfinished run.
        OutputError: another run uses it, or it cannot be written to.
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
    with lock_folder(folder):
        yield _begin(folder, spec)


@contextmanager
def lock_folder(folder: str) -> Iterator[None]:
    """Lock a checkpoint folder against other runs.

    Raises OutputError if another run uses it, or if it cannot be written to.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(Path(folder)))
        except BlockingIOError:
            raise OutputError(
                f"another run is painting with checkpoints in {folder}: wait for it", folder
            ) from None
        except OSError as error:
            raise OutputError(f"cannot write into {folder}: {error.strerror}", folder) from error
        yield


def _begin(folder: str, spec: RunSpec) -> Path:
    """Write the record of a new run, in place of the files of a finished one."""
    from impasto.painting.checkpoint_file import BEFORE, NAME, clear

    path = Path(folder)
    begun = (path / NAME).exists() or (path / BEFORE).exists()
    if begun and (path / RECORD).exists() and not read_record(path).finished:
        raise ConfigError(
            f"{folder} holds a painting that is not finished: `impasto resume {folder}` "
            "continues it; give another folder to begin a new one",
            folder,
        )
    clear(path)
    shutil.rmtree(path / FRAMES, ignore_errors=True)
    _write_record(path, spec, finished=False)
    record = read_record(path)
    if record.unsigned and (outside := _outside_folder(record, path)):
        click.echo(
            f"impasto: {key_file()} cannot be written: as {RECORD} names {outside}, `impasto "
            f"resume {folder}` will need --trust",
            err=True,
        )
    return path


def mark_finished(folder: Path, spec: RunSpec) -> None:
    """Record that a run is finished, and remove its checkpoints and film frames."""
    from impasto.painting.checkpoint_file import clear

    _write_record(folder, spec, finished=True)
    clear(folder)
    shutil.rmtree(folder / FRAMES, ignore_errors=True)


def _write_record(folder: Path, spec: RunSpec, finished: bool) -> None:
    from impasto.images.atomic import atomic_write

    record = {
        "pictures": spec.pictures,
        "config": spec.config.model_dump(mode="json"),
        "machine": spec.machine.model_dump(mode="json"),
        "outputs": {name: str(path) for name, path in spec.outputs.named().items()},
        "snapshots": spec.outputs.snapshots._asdict(),
        "file": spec.outputs.options._asdict(),
        "engine": spec.engine,
        "address": spec.address,
        "folder": spec.folder,
        "finished": finished,
    }
    with atomic_write(folder / RECORD) as part:
        part.write_text(json.dumps(sign(record), indent=1), encoding="utf-8")


class OutputRecord(BaseModel):
    """The output files of a run, by name."""

    model_config = ConfigDict(extra="forbid")

    picture: Text
    timelapse: Text | None = None
    figure: Text | None = None
    trace: Text | None = None


class SnapshotsRecord(BaseModel):
    """The steps at which snapshots are written."""

    model_config = ConfigDict(extra="forbid")

    every: Annotated[StrictInt, Field(ge=0)]
    at: Annotated[list[StrictInt], Field(max_length=10_000)]


class FileRecord(BaseModel):
    """The options of the painting's file."""

    model_config = ConfigDict(extra="forbid")

    depth: Literal[8, 16]
    metadata: Literal["basic", "all", "none"]


class RunRecord(BaseModel):
    """The record of a run. unsigned: it may have been written by another user, or changed."""

    pictures: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    config: ConfigRecord
    machine: ConfigRecord
    outputs: OutputRecord
    snapshots: SnapshotsRecord
    file: FileRecord
    engine: Literal["local", "ray"]
    address: Text | None
    folder: Text
    finished: bool
    unsigned: bool

    @property
    def paths(self) -> dict[str, str]:
        """The output files by name, relative to the current folder."""
        named = {name: path for name, path in self.outputs.model_dump().items() if path is not None}
        if os.path.realpath(self.folder) == os.path.realpath("."):
            return named
        return {name: os.path.join(self.folder, path) for name, path in named.items()}


SCHEMA = TypeAdapter(RunRecord)


def read_record(folder: Path) -> RunRecord:
    """Read the record of the run in a folder. Raises CheckpointError."""
    path = folder / RECORD
    try:
        record = parse_json(read_regular(path, MOST_BYTES))
        if not isinstance(record, dict):
            raise ValueError("it is not the record of a run")
        return validate(SCHEMA, {**record, "unsigned": not is_signed(record)})
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} holds no painting to resume: no {RECORD} there", str(folder)
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {reason(error)}", str(folder)) from None


def _outside_folder(record: RunRecord, folder: Path) -> str:
    """Return the first cluster or file in a record that is not inside the run's folder, or ""."""
    if record.address:
        return f"the cluster {record.address}"
    inside = Path(os.path.realpath(folder))
    for path in record.paths.values():
        real = Path(os.path.realpath(path))
        if inside not in real.parents:
            return f"{path}, which is outside its folder"
        if os.path.lexists(real) and not os.path.isfile(real):
            return f"{path}, which is not a regular file"
    return ""


def check_trusted(record: RunRecord, folder: Path) -> None:
    """Check that a record was written by this user, or names nothing outside its folder.

    Raises CheckpointError.
    """
    if record.unsigned and (outside := _outside_folder(record, folder)):
        raise CheckpointError(
            f"{folder / RECORD} was not written by a run of yours, or was changed since, and "
            f"names {outside}: `impasto resume {folder} --trust` allows it",
            outside,
        )
