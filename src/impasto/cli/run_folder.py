"""The command that goes on with a painting that was cut off: resume; and the folder that paint --checkpoint keeps."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import click
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from impasto.errors import CheckpointError, ConfigError, OutputError, reason
from impasto.locking import alone_in
from impasto.records import ConfigRecord, Text, checked, parsed, read_regular
from impasto.signing import is_signed, key_file, signed

if TYPE_CHECKING:
    from impasto.cli.outputs import Outputs
    from impasto.config import Config

__all__ = ["FRAMES", "JOB", "Work", "finish", "keeping", "resume"]

JOB = "job.json"
MOST_BYTES = 1 << 20  # of a job's file
FRAMES = ".impasto-film"  # the folder of a time-lapse's frames so far


class Work(NamedTuple):
    """What a run of `paint` is to do: the pictures and the settings, the files that it leaves, and where to paint."""

    pictures: tuple[str, ...]
    config: Config
    outputs: Outputs
    folder: str  # that the paths begin at
    engine: str = "local"
    address: str | None = None


@contextmanager
def keeping(folder: str | None, work: Work) -> Iterator[Path | None]:
    """Have a new run alone in `folder`, where it is written down so that `resume` can do it; None: nowhere.

    Raises ConfigError, OutputError.
    """
    if not folder:
        yield None
        return
    from impasto.batch.command import is_batch

    if is_batch(Path(folder)):
        raise ConfigError(f"{folder} is the folder of a batch: give another one for --checkpoint", folder)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}", folder) from error
    with _alone(folder):
        yield _begin(folder, work)


@contextmanager
def _alone(folder: str) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(alone_in(Path(folder)))
        except BlockingIOError:
            raise OutputError(f"another run is painting with checkpoints in {folder}: wait for it", folder) from None
        except OSError as error:
            raise OutputError(f"cannot write into {folder}: {error.strerror}", folder) from error
        yield


def _begin(folder: str, work: Work) -> Path:
    from impasto.painting.checkpoint import BEFORE, NAME, clear

    path = Path(folder)
    begun = (path / NAME).exists() or (path / BEFORE).exists()
    if begun and (path / JOB).exists() and not _read(path).finished:
        raise ConfigError(
            f"{folder} holds a painting that is not finished: `impasto resume {folder}` goes on with it; "
            "give another folder to begin a new one",
            folder,
        )
    clear(path)
    shutil.rmtree(path / FRAMES, ignore_errors=True)
    _write(path, work, finished=False)
    job = _read(path)
    if job.untyped and (beyond := _beyond(job, path)):
        click.echo(
            f"impasto: {key_file()} cannot be written: as {JOB} names {beyond}, `impasto resume {folder}` will need "
            "--trust",
            err=True,
        )
    return path


def finish(folder: Path, work: Work) -> None:
    """Write down that it is done; the checkpoint and the film's frames are of no more use."""
    from impasto.painting.checkpoint import clear

    _write(folder, work, finished=True)
    clear(folder)
    shutil.rmtree(folder / FRAMES, ignore_errors=True)


def _write(folder: Path, work: Work, finished: bool) -> None:
    from impasto.images.write import whole

    job = {
        "pictures": work.pictures,
        "config": work.config.model_dump(mode="json"),
        "outputs": {name: str(path) for name, path in work.outputs.named().items()},
        "engine": work.engine,
        "address": work.address,
        "folder": work.folder,
        "finished": finished,
    }
    with whole(folder / JOB) as part:
        part.write_text(json.dumps(signed(job), indent=1), encoding="utf-8")


class OutputRecord(BaseModel):
    """The files that a job leaves, by name."""

    model_config = ConfigDict(extra="forbid")

    picture: Text
    timelapse: Text | None = None
    figure: Text | None = None
    trace: Text | None = None


class Job(BaseModel):
    """A job's file. untyped: nobody knows that this user has typed what is in it."""

    pictures: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    config: ConfigRecord
    outputs: OutputRecord
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


JOBS = TypeAdapter(Job)


def _read(folder: Path) -> Job:
    """The job of a folder. Raises CheckpointError."""
    try:
        found = parsed(read_regular(folder / JOB, MOST_BYTES))
        if not isinstance(found, dict):
            raise ValueError("it is not a job's record")
        return checked(JOBS, {**found, "untyped": not is_signed(found)})
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no painting to go on with: no {JOB} there", str(folder)) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / JOB} cannot be read: {reason(error)}", str(folder)) from None


def _beyond(job: Job, folder: Path) -> str:
    """What a job names that only its user may: an output outside its folder, or a cluster's address; "" if nothing."""
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


def _check_typed(job: Job, folder: Path, trust: bool) -> None:
    """Whether what a job names is its user's to name. Raises CheckpointError."""
    if job.untyped and not trust and (beyond := _beyond(job, folder)):
        raise CheckpointError(
            f"{folder / JOB} was not written by a run of yours, or was changed since, and names {beyond}: "
            f"`impasto resume {folder} --trust` does what it says",
            beyond,
        )


@click.command()
@click.argument("folder")
@click.option(
    "--trust",
    is_flag=True,
    help="do what the folder says although no run of yours wrote it: it may name any file and any cluster",
)
@click.option("--quiet", is_flag=True, help="say nothing but errors")
@click.option("--json", "as_json", is_flag=True, help="print the result as one line of JSON")
def resume(folder: str, trust: bool, quiet: bool, as_json: bool) -> int:
    """Go on with what `paint --checkpoint FOLDER` or `batch -o FOLDER` began; it ends with the same pictures."""
    from impasto.batch.command import asked_before, is_batch
    from impasto.batch.command import carry_out as carry_out_batch

    path = Path(folder).absolute()
    if is_batch(path):
        if as_json:
            raise ConfigError(f"--json is of one painting, and {folder} is a batch's: see its manifest.jsonl", folder)
        return carry_out_batch(asked_before(path, trust), str(path), retry_failed=False, quiet=quiet)
    if not _read(path).finished:
        with _alone(str(path)):
            job = _read(path)
            if not job.finished:  # by the run that had the folder until now
                return _go_on(job, path, trust, quiet, as_json)
    picture = _read(path).paths["picture"]
    if not os.path.exists(picture):
        raise CheckpointError(
            f"{folder} is finished, and its painting {picture} is gone: the same `impasto paint` command makes it anew",
            picture,
        )
    click.echo(f"{folder} is finished: the painting is {picture}", err=as_json)
    return 0


def _go_on(job: Job, path: Path, trust: bool, quiet: bool, as_json: bool) -> int:
    """Paint what is left of a job; the exit code. Raises CheckpointError."""
    from impasto.cli.outputs import outputs_of
    from impasto.cli.terminal import carry_out
    from impasto.config import Config

    _check_typed(job, path, trust)
    settings: dict[str, Any] = dict(job.config)
    try:
        config = Config(**settings)
    except ConfigError as error:
        raise CheckpointError(f"{path / JOB} cannot be gone on with: {error}", error.value) from None
    paths = job.paths
    try:
        os.chdir(job.folder)
    except OSError as error:
        gone = f"the folder that it was begun in is gone: {job.folder} ({error.strerror})"
        raise CheckpointError(gone, job.folder) from None
    outputs = outputs_of(**paths, config=config)
    work = Work(tuple(job.pictures), config, outputs, job.folder, job.engine, job.address)
    return carry_out(work, path, quiet, as_json)
