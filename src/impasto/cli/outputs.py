"""What a run leaves behind: the painting's file, and beside it what was asked for."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from impasto.errors import ConfigError, OutputError, shortened
from impasto.figures.contact_sheet import Cell, contact_sheet
from impasto.figures.timelapse import check_film
from impasto.images.read import read
from impasto.images.write import check_output, to_image, write
from impasto.painting.callbacks import (
    Log,
    Snapshots,
    StepCallback,
    check_trace,
    film_of,
    snapshot_path,
    snapshots,
    trace,
)
from impasto.painting.problem import extras
from impasto.parsing import parse_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from impasto.config import Config
    from impasto.figures.timelapse import Film
    from impasto.images.read import Picture
    from impasto.painting.outcome import Painting
    from impasto.painting.run import Run
    from impasto.painting.step import Step

__all__ = [
    "DOUBTFUL",
    "Outputs",
    "check_outputs",
    "check_snapshots",
    "not_among",
    "report",
    "sheet",
]


NONE = Snapshots()
DOUBTFUL = 4  # exit code: the painting is whole, and hardly what was meant


class Outputs(NamedTuple):
    """The files of one run, checked; None: not asked for. snapshots: the steps that are kept."""

    picture: Path
    timelapse: Path | None = None
    figure: Path | None = None
    trace: Path | None = None
    snapshots: Snapshots = NONE

    def named(self) -> dict[str, Path]:
        """Those that were asked for, by name."""
        return {name: path for name, path in self._asdict().items() if isinstance(path, Path)}

    def film(self, content: Picture, config: Config, frames: Path | None = None) -> Film | None:
        """The film to be made, if one was asked for; to be closed by whoever asks. frames: as of
        Film."""
        return None if self.timelapse is None else film_of(self.timelapse, content, config, frames)

    def callbacks(self, run: Run, film: Film | None, log: Log) -> list[StepCallback]:
        """Make the callbacks that write these files while the run goes on."""
        found: list[StepCallback] = []
        if self.snapshots != NONE:
            found.append(snapshots(run, self.picture, self.snapshots, log))
        if self.trace:
            found.append(trace(self.trace, log))
        if film:
            found.append(_filming(film, log))
        return found


def check_outputs(
    picture: str,
    timelapse: str | None = None,
    figure: str | None = None,
    trace: str | None = None,
    used: Iterable[str] = (),
    kept: Snapshots = NONE,
    steps: int = 0,
) -> Outputs:
    """Check that the files of a run can be written, are different ones, and none is an input.

    Args:
        picture, timelapse, figure, trace: their paths.
        used: the paths that the run reads.
        kept: the steps whose snapshots are written, of `steps`.

    Raises:
        OutputError: one cannot be written, or is another one too.
    """
    outputs = Outputs(
        check_output(picture),
        check_film(timelapse) if timelapse else None,
        check_output(figure, what="figure") if figure else None,
        check_trace(trace) if trace else None,
        kept,
    )
    taken = {_real(each): "one of the pictures to paint from" for each in used}
    for name, path in outputs.named().items():
        real = os.path.realpath(path)
        if real in taken:
            raise OutputError(f"{path} is {taken[real]}: give another name", str(path))
        taken[real] = f"the {name} too"
    for real, what in taken.items():
        if is_snapshot(outputs.picture, Path(real), kept, steps):
            raise OutputError(
                f"the snapshot {real} is {what}: give the painting another name", real
            )
    return outputs


def is_snapshot(picture: Path, real: Path, kept: Snapshots, steps: int) -> bool:
    """Whether one of the snapshots will be written to the path `real`.

    There may be ten million snapshots: the few paths that are taken are looked at instead.
    """
    found = re.search(r"-(\d{5,8})$", real.stem)
    step = int(found[1]) if found else 0
    if step not in kept or not 0 < step <= steps:
        return False
    return os.path.realpath(snapshot_path(picture, step)) == str(real)


def check_snapshots(every: int, at: str, steps: int) -> Snapshots:
    """Read `--save-every` and `--save-at` ("3000,9000"). Raises ConfigError."""
    numbers = parse_numbers(at)
    for number in numbers:
        if not (number.strip().isdecimal() and int(number)):
            raise ConfigError(f"--save-at is {shortened(number)}: it takes steps, as 3000,9000", at)
    listed = tuple(map(int, numbers))
    beyond = [step for step in listed if step > steps]
    if beyond:
        raise ConfigError(
            f"--save-at {beyond[0]} is beyond the last of {steps} steps: choose earlier ones",
            beyond,
        )
    return Snapshots(every, listed)


def _real(path: str | Path) -> str:
    """The path behind all links; a name that no file can have is what it is, and refused when it is
    opened."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return str(path)


def not_among(target: Path, used: Iterable[str]) -> Path:
    """`target`, unless it is one of the files `used` to make it. Raises OutputError."""
    if _real(target) in map(_real, used):
        raise OutputError(
            f"{target} is one of the files to draw from: give another name", str(target)
        )
    return target


def _filming(film: Film, log: Log) -> StepCallback:
    """Add every step to the film; where there is no more room for frames it ends there."""
    broken = False

    def add(step: Step) -> None:
        nonlocal broken
        if not broken:
            try:
                film.add_frame(step.shown, step.number)
            except OutputError as error:
                broken = True
                log(f"no film from step {step.number} on: {error}")

    return add


def sheet(painting: Painting, pictures: Sequence[Picture], out: Path) -> Path:
    """Write the contact sheet: content, styles, what else the settings name, result. Raises
    OutputError."""
    content, *styles = pictures
    cells: list[Cell] = [
        (to_image(content.pixels, content.alpha), f"content\n{Path(content.name).name}")
    ]
    for k, style in enumerate(styles, 1):
        role = "style" if len(styles) == 1 else f"style {k}"
        cells.append((to_image(style.pixels, style.alpha), f"{role}\n{Path(style.name).name}"))
    for role, path in extras(painting.config):
        extra = read(path)
        cells.append((to_image(extra.pixels, extra.alpha), f"{role}\n{Path(path).name}"))
    cells.append((painting.image, f"result\n{painting.steps} steps"))
    return write(contact_sheet([cells]), out)


def report(painting: Painting, outputs: Outputs, quiet: bool, as_json: bool) -> int:
    """Log what was made, in words or as one line of JSON, and whether to doubt it; the exit
    code."""
    if as_json:
        height, width = painting.pixels.shape[2:]
        line = {
            **{name: str(path) for name, path in outputs.named().items()},
            "width": width,
            "height": height,
            "seconds": round(painting.seconds, 3),
            "steps": painting.steps,
            "evaluations": painting.evaluations,
            "finished": painting.finished,
            "stopped": painting.stopped,
            "objective": painting.value,
            "terms": painting.terms,
            "notes": painting.notes,
            "doubt": painting.doubt,
            **{key: painting.settings[key] for key in ("version", "config", "machine", "inputs")},
        }
        click.echo(json.dumps(line))
    elif not quiet:
        early = (
            ""
            if painting.finished
            else f", {painting.stopped}: {painting.steps} of {painting.config.steps} steps"
        )
        click.echo(f"{outputs.picture}  (painted in {painting.seconds:.1f} s{early})")
        for name, path in list(outputs.named().items())[1:]:
            click.echo(f"{path}  ({name})")
    if painting.doubt:
        click.echo(f"impasto: {painting.doubt}", err=True)
    return DOUBTFUL if painting.doubt else 0
