"""The output files of a run: check their paths, write them, report them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import click

from impasto.cli.exit_codes import DOUBTFUL
from impasto.cli.streams import STREAM, check_stdout
from impasto.config import Config
from impasto.errors import ConfigError, OutputError, shortened
from impasto.figures.contact_sheet import Cell, contact_sheet
from impasto.figures.timelapse import Film, check_film
from impasto.images.read import Picture, read
from impasto.images.write import (
    DEFAULT_OPTIONS,
    FIGURES,
    FileOptions,
    check_depth,
    check_output,
    to_image,
    write,
)
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
from impasto.painting.levels import enough_for
from impasto.painting.outcome import Painting
from impasto.painting.problem import extras
from impasto.painting.run import Run
from impasto.painting.step import Step
from impasto.parsing import parse_numbers
from impasto.records import LONGEST_NAME

NO_SNAPSHOTS = Snapshots()


class Outputs(NamedTuple):
    """The checked output files of a run; None: not written.

    snapshots: the steps of snapshots. options: how the painting's file is written.
    """

    picture: Path
    timelapse: Path | None = None
    figure: Path | None = None
    trace: Path | None = None
    snapshots: Snapshots = NO_SNAPSHOTS
    options: FileOptions = FileOptions()

    @property
    def streamed(self) -> bool:
        """True if the picture is written to standard output."""
        return str(self.picture) == STREAM

    def named(self) -> dict[str, Path]:
        """Return the files that are written, by name."""
        return {name: path for name, path in self._asdict().items() if isinstance(path, Path)}

    def film(self, content: Picture, config: Config, frames: Path | None = None) -> Film | None:
        """Begin the time-lapse, if there is to be one. frames: a lasting folder for its frames."""
        return None if self.timelapse is None else film_of(self.timelapse, content, config, frames)

    def callbacks(self, run: Run, film: Film | None, log: Log) -> list[StepCallback]:
        """Make the callbacks that write the trace, snapshots and film of a run."""
        callbacks: list[StepCallback] = []
        if self.snapshots != NO_SNAPSHOTS:
            callbacks.append(snapshots(run, self.picture, self.snapshots, log))
        if self.trace:
            callbacks.append(trace(self.trace, log))
        if film:
            callbacks.append(_filming(film, log))
        return callbacks


def check_outputs(
    picture: str,
    timelapse: str | None = None,
    figure: str | None = None,
    trace: str | None = None,
    used: Iterable[str] = (),
    at_steps: Snapshots = NO_SNAPSHOTS,
    steps: int = 0,
    options: FileOptions = DEFAULT_OPTIONS,
) -> Outputs:
    """Check that the output files of a run can be written, differ, and are not among its inputs.

    Args:
        picture, timelapse, figure, trace: their paths.
        used: the paths of the inputs.
        at_steps: the steps at which snapshots are written.
        steps: the number of all steps.
        options: how the painting's file is written.

    Raises:
        OutputError: a file cannot be written, or two are the same.
    """
    outputs = Outputs(
        _check_picture(picture, at_steps, steps),
        check_film(timelapse) if timelapse else None,
        check_output(figure, FIGURES, "figure") if figure else None,
        check_trace(trace) if trace else None,
        at_steps,
        options,
    )
    written = Path("painting.png") if outputs.streamed else outputs.picture
    check_depth(written, options.depth)
    files = [path for path in used if path != STREAM]
    taken = {_real(path): "one of the pictures to paint from" for path in files}
    for name, path in outputs.named().items():
        real = os.path.realpath(path)
        if real in taken:
            raise OutputError(f"{path} is {taken[real]}: give another name", str(path))
        taken[real] = f"the {name} too"
    for real, what in taken.items():
        if _is_snapshot(outputs.picture, Path(real), at_steps, steps):
            raise OutputError(
                f"the snapshot {real} is {what}: give the painting another name", real
            )
    return outputs


def _check_picture(path: str, at_steps: Snapshots, steps: int) -> Path:
    """Check that the painting and its snapshots can be written. Raises OutputError."""
    if path == STREAM:
        check_stdout()
        return Path(path)
    picture = check_output(path)
    name = snapshot_path(picture, steps).name
    if at_steps != NO_SNAPSHOTS and len(os.fsencode(name)) > LONGEST_NAME:
        raise OutputError(f"the name of the snapshot {name} is too long: shorten -o", path)
    return picture


def _is_snapshot(picture: Path, real: Path, at_steps: Snapshots, steps: int) -> bool:
    """Return whether one of the snapshots will be written to the path `real`.

    It parses that path, as there may be ten million snapshots.
    """
    match = re.search(r"-(\d{5,8})$", real.stem)
    step = int(match[1]) if match else 0
    if step not in at_steps or not 0 < step <= steps:
        return False
    return os.path.realpath(snapshot_path(picture, step)) == str(real)


def check_snapshots(every: int, at: str, steps: int) -> Snapshots:
    """Parse and check `--save-every` and `--save-at`.

    Raises ConfigError if `at` ("3000,9000") is not a list of steps, or one is beyond the last.
    """
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
    """Resolve the links of a path; an invalid one is returned as it is, and fails when opened."""
    try:
        return os.path.realpath(path)
    except ValueError:
        return str(path)


def check_figure(path: str, used: Iterable[str]) -> Path:
    """Check that a figure can be written, and is not among its inputs, the paths `used`.

    Raises OutputError.
    """
    target = check_output(path, FIGURES, "figure")
    if _real(target) in map(_real, used):
        raise OutputError(
            f"{target} is one of the files to draw from: give another name", str(target)
        )
    return target


def _filming(film: Film, log: Log) -> StepCallback:
    """Make a callback that adds every step to a film, until the disk is full."""
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


def write_contact_sheet(painting: Painting, pictures: Sequence[Picture], out: Path) -> Path:
    """Write the contact sheet of a painting: content, styles, other pictures, result.

    pictures: the content and the styles. Raises OutputError.
    """
    content, *styles = pictures
    cells: list[Cell] = [
        (to_image(content.pixels, content.alpha), f"content\n{Path(content.name).name}")
    ]
    for k, style in enumerate(styles, 1):
        role = "style" if len(styles) == 1 else f"style {k}"
        cells.append((to_image(style.pixels, style.alpha), f"{role}\n{Path(style.name).name}"))
    for role, path in extras(painting.config):
        extra = read(path, enough_for(*content.full_size, painting.config))
        cells.append((to_image(extra.pixels, extra.alpha), f"{role}\n{Path(path).name}"))
    cells.append((painting.image, f"result\n{painting.steps} steps"))
    return write(contact_sheet([cells]), out, suffixes=FIGURES)


def report(painting: Painting, outputs: Outputs, quiet: bool, as_json: bool) -> int:
    """Print the output files of a run, as text or JSON, and any doubt about the painting.

    Returns the exit code.
    """
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
        picture = "standard output" if outputs.streamed else outputs.picture
        click.echo(f"{picture}  (painted in {painting.seconds:.1f} s{early})", err=outputs.streamed)
        for name, path in list(outputs.named().items())[1:]:
            click.echo(f"{path}  ({name})", err=outputs.streamed)
    if painting.doubt:
        click.echo(f"impasto: {painting.doubt}", err=True)
    return DOUBTFUL if painting.doubt else 0
