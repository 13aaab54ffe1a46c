"""The command that paints many pictures: batch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import click
from pydantic import Field, TypeAdapter

from impasto.cli.options import GroupedCommand, check_engine, config_options, engine_options, given
from impasto.config import Config
from impasto.errors import CheckpointError, OutputError, reason
from impasto.presets import preset
from impasto.records import ConfigRecord, Text, checked, open_regular, parsed, read_regular
from impasto.signing import is_signed, key_file, signed

if TYPE_CHECKING:
    from impasto.batch.scheduler import Foreman

__all__ = ["NOT_FOR_BATCHES", "Asked", "asked_before", "batch", "carry_out", "is_batch"]

NOT_FOR_BATCHES = ("save_every", "save_at")
PARTLY, STOPPED = 3, 130  # exit codes: some pictures could not be painted; it was stopped
ASKED = ".impasto/batch.json"
MOST_BYTES = 1 << 24  # of that file: system and shell take no longer command line
Paths = Annotated[list[Text], Field(max_length=1_000_000)]


class Asked(NamedTuple):
    """A batch as it was asked for: all that `impasto resume` needs."""

    contents: Paths
    styles: Paths
    pairs: Text
    preset: Text
    typed: ConfigRecord
    engine: Literal["local", "ray"]
    address: Text | None


FOLDER, ASKED_BEFORE = TypeAdapter(Text), TypeAdapter(Asked)


@click.command(cls=GroupedCommand)
@click.argument("contents", nargs=-1, metavar="CONTENTS ...")
@click.option(
    "--style",
    "styles",
    multiple=True,
    metavar="STYLES",
    help="a style picture, or a folder of them (not *.jpg: that would give one of them); may be given again",
)
@click.option("-o", "--out", "folder", required=True, metavar="OUT", help="the folder that is painted into")
@click.option(
    "--pairs",
    default="all",
    metavar="all|zip|FILE.csv",
    help="every content in every style; the first in the first and so on; or a table with the columns content, style, "
    "out, preset and any setting [default: all]",
)
@click.option("--preset", "preset_name", default="house", metavar="NAME", help="a recipe by name [default: house]")
@click.option("--retry-failed", is_flag=True, help="paint again what failed in an earlier call")
@engine_options
@click.option("--quiet", is_flag=True, help="say nothing but errors")
def batch(
    contents: tuple[str, ...],
    styles: tuple[str, ...],
    folder: str,
    pairs: str,
    preset_name: str,
    retry_failed: bool,
    engine: Literal["local", "ray"],
    address: str | None,
    quiet: bool,
    **values: Any,
) -> int:
    """Paint every picture of CONTENTS (pictures, folders) in every style, into the folder OUT.

    impasto batch photos/ --style paintings/ -o painted/

    The same call again paints what is missing: what is done is known by its pictures and settings, not by its name.
    In a table paths begin at the current folder, and ; separates several styles or masks of one painting.
    """
    asked = Asked(list(contents), list(styles), pairs, preset_name, given(values), engine, address)
    return carry_out(asked, folder, retry_failed, quiet)


config_options(batch, *(name for name in Config.model_fields if name not in NOT_FOR_BATCHES))


def is_batch(folder: Path) -> bool:
    """Whether a batch has been painting into `folder`."""
    return os.path.isfile(folder / ASKED)  # unlike Path.is_file it never raises


def asked_before(folder: Path, trust: bool) -> Asked:
    """The batch that has been painting into `folder`; its paths begin at the current folder from here on.

    trust: whether it may join a cluster although no run of this user wrote it down. Raises CheckpointError.
    """
    path = folder / ASKED
    try:
        found = parsed(read_regular(path, MOST_BYTES))
        if not isinstance(found, dict):
            raise ValueError("it is not a batch's record")
        typed = is_signed(found)
        began_in = checked(FOLDER, found.pop("folder", None))
        asked = checked(ASKED_BEFORE, {name: value for name, value in found.items() if name != "signature"})
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be gone on with: {reason(error)}", str(path)) from None
    if asked.address and not (typed or trust):
        raise CheckpointError(
            f"{path} was not written by a run of yours, or was changed since, and names the cluster {asked.address}: "
            f"`impasto resume {folder} --trust` joins it", asked.address,
        )  # fmt: skip
    try:
        os.chdir(began_in)
    except OSError as error:
        raise CheckpointError(
            f"the folder that it was begun in is gone, {began_in} ({reason(error)}): give the `impasto batch` command "
            f"again where the pictures are now, with -o {folder}", began_in,
        ) from None  # fmt: skip
    if asked.pairs not in ("all", "zip"):
        try:
            open_regular(asked.pairs).close()  # the batch command takes a pipe too, but nobody writes into it now
        except OSError as error:
            raise CheckpointError(f"{asked.pairs} cannot be read as a table: {reason(error)}", asked.pairs) from None
    return asked


def carry_out(asked: Asked, folder: str, retry_failed: bool, quiet: bool) -> int:
    """Paint what a batch asks for and is not there yet; the exit code."""
    from impasto.backbone.weights import Weights, load
    from impasto.batch.contact_sheets import write_sheets
    from impasto.batch.job import Known, jobs_of
    from impasto.batch.progress import Board
    from impasto.batch.scheduler import Foreman
    from impasto.batch.store import opened
    from impasto.cli.outputs import DOUBTFUL
    from impasto.cli.progress_bar import downloading, log

    check_engine(asked.engine, asked.address)
    _check_folder(folder, asked)
    console = log(quiet)

    def config_for(name: str, settings: dict[str, Any]) -> Config:
        return preset(name or asked.preset).config.changed(**{**asked.typed, **settings})

    def weights(name: str) -> Weights:
        with downloading(console, name) as progress:
            return load(name, progress)

    jobs = jobs_of(asked.contents, asked.styles, asked.pairs, config_for)
    known = Known(weights)
    for name in {job.config.backbone for job in jobs}:  # before anything is written
        known.network(name)

    with Board(console) as board, opened(folder, board.note) as ledger:
        ledger.patiently(lambda: _write(asked, Path(folder), board.note))
        foreman = Foreman(ledger, board, known, retry_failed)
        foreman.plan(jobs)
        sheets: list[Path] = []
        stopped = False
        try:
            _paint(foreman, asked)
            sheets = ledger.patiently(lambda: write_sheets(ledger, foreman.results()))
        except KeyboardInterrupt:
            stopped = True
        finally:
            board.close()
            board.summary(folder)
        for sheet in sheets if not quiet else ():
            click.echo(f"{sheet}  (contact sheet)")
        if stopped:
            click.echo(f"impasto: stopped; `impasto resume {folder}` goes on with it", err=True)
            return STOPPED
        return PARTLY if board.failures else DOUBTFUL if board.doubts else 0


def _check_folder(folder: str, asked: Asked) -> None:
    """Whether a batch may paint into `folder`. Raises OutputError."""
    from impasto.cli.run_folder import JOB

    for each in (*asked.contents, *asked.styles):
        if os.path.isdir(each) and os.path.realpath(each) == os.path.realpath(folder):
            raise OutputError(f"{folder} is a folder of pictures to paint from: give another -o", folder)
    if os.path.exists(Path(folder) / JOB):
        raise OutputError(f"{folder} holds the checkpoints of a painting: give another -o", folder)


def _write(asked: Asked, folder: Path, say: Callable[[str], object]) -> None:
    """Write down what is asked for, so that `asked_before` can tell it. Raises OutputError."""
    from impasto.images.write import whole

    record = signed({**asked._asdict(), "folder": os.getcwd()})
    if asked.address and not record["signature"]:
        say(f"{key_file()} cannot be written: `impasto resume {folder}` will need --trust, as this joins a cluster")
    with whole(folder / ASKED) as part:
        part.write_text(json.dumps(record, indent=1), encoding="utf-8")


def _paint(foreman: Foreman, asked: Asked) -> None:
    """Paint what waits, here or there. Raises KeyboardInterrupt when it is stopped."""
    from impasto.batch.scheduler import paint_here
    from impasto.cli.terminal import Stopping

    if not foreman.waiting:
        return
    if asked.engine == "local":
        with Stopping() as stopping:
            paint_here(foreman, stopping)
        return
    from impasto.cluster.ray_cluster import joined
    from impasto.cluster.ray_executor import paint_there

    with joined(asked.address), Stopping() as stopping:  # in this order: Ray takes SIGTERM for itself
        paint_there(foreman, stopping)
