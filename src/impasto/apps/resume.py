"""The command that goes on with a painting that was cut off: resume; and the folder that paint --checkpoint keeps."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from impasto.apps.alone import alone_in
from impasto.errors import CheckpointError, ConfigError, OutputError

if TYPE_CHECKING:
    from impasto.apps.outputs import Outputs
    from impasto.config import Config

__all__ = ["FRAMES", "JOB", "Work", "finish", "keeping", "resume"]

JOB = "job.json"
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
    from impasto.apps.batch.command import is_batch

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
    from impasto.checkpoint import NAME, clear

    path = Path(folder)
    if (path / NAME).exists() and (path / JOB).exists() and not _read(path)["finished"]:
        raise ConfigError(
            f"{folder} holds a painting that is not finished: `impasto resume {folder}` goes on with it; "
            "give another folder to begin a new one",
            folder,
        )
    clear(path)
    shutil.rmtree(path / FRAMES, ignore_errors=True)
    _write(path, work, finished=False)
    return path


def finish(folder: Path, work: Work) -> None:
    """Write down that it is done; the checkpoint and the film's frames are of no more use."""
    from impasto.checkpoint import clear

    _write(folder, work, finished=True)
    clear(folder)
    shutil.rmtree(folder / FRAMES, ignore_errors=True)


def _write(folder: Path, work: Work, finished: bool) -> None:
    from impasto.pictures import whole

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
        part.write_text(json.dumps(job, indent=1), encoding="utf-8")


def _read(folder: Path) -> dict[str, Any]:
    try:
        job = json.loads((folder / JOB).read_text(encoding="utf-8"))
        if not job.keys() >= {"pictures", "config", "outputs", "folder", "finished"}:
            raise ValueError("it lacks something")
    except FileNotFoundError:
        raise CheckpointError(f"{folder} holds no painting to go on with: no {JOB} there", str(folder)) from None
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{folder / JOB} cannot be read: {error}", str(folder)) from None
    return dict(job)


@click.command()
@click.argument("folder")
@click.option("--quiet", is_flag=True, help="say nothing but errors")
@click.option("--json", "as_json", is_flag=True, help="print the result as one line of JSON")
def resume(folder: str, quiet: bool, as_json: bool) -> int:
    """Go on with what `paint --checkpoint FOLDER` or `batch -o FOLDER` began; it ends with the same pictures."""
    from impasto.apps.batch.command import asked_before, is_batch
    from impasto.apps.batch.command import carry_out as carry_out_batch
    from impasto.apps.outputs import outputs_of
    from impasto.apps.running import carry_out
    from impasto.config import Config

    path = Path(folder).absolute()
    if is_batch(path):
        if as_json:
            raise ConfigError(f"--json is of one painting, and {folder} is a batch's: see its manifest.jsonl", folder)
        return carry_out_batch(asked_before(path), str(path), retry_failed=False, quiet=quiet)
    if not _read(path)["finished"]:
        with _alone(str(path)):
            job = _read(path)
            if not job["finished"]:  # by the run that had the folder until now
                outputs = _outputs(job)
                try:
                    os.chdir(str(job["folder"]))
                except OSError as error:
                    gone = f"the folder that it was begun in is gone: {job['folder']} ({error.strerror})"
                    raise CheckpointError(gone, job["folder"]) from None
                config = Config(**job["config"])
                where = job.get("engine", "local"), job.get("address")
                work = Work(tuple(job["pictures"]), config, outputs_of(**outputs, config=config), job["folder"], *where)
                carry_out(work, path, quiet, as_json)
                return 0
    picture = _outputs(_read(path))["picture"]
    if not os.path.exists(picture):
        raise CheckpointError(
            f"{folder} is finished, and its painting {picture} is gone: the same `impasto paint` command makes it anew",
            picture,
        )
    click.echo(f"{folder} is finished: the painting is {picture}", err=as_json)
    return 0


def _outputs(job: dict[str, Any]) -> dict[str, str]:
    """A job's files, as they are found from the current folder."""
    outputs: dict[str, str] = job["outputs"]
    if os.path.realpath(job["folder"]) == os.path.realpath("."):
        return outputs
    return {name: os.path.join(job["folder"], each) for name, each in outputs.items()}
