"""Callbacks for the steps of a run: snapshots, the trace, the time-lapse, and texts about them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import BaseModel, Field, StrictFloat, StrictInt, TypeAdapter

from impasto.errors import OutputError, PictureError, reason
from impasto.figures.contact_sheet import kinds
from impasto.figures.curve import Curve
from impasto.figures.timelapse import Film
from impasto.images.read import resize
from impasto.images.write import check_output, to_image, write
from impasto.painting.levels import painted_size
from impasto.painting.run import Run
from impasto.records import Text, parse_json, read_lines, validate

if TYPE_CHECKING:
    from impasto.config import Config
    from impasto.images.read import Picture
    from impasto.painting.step import Step

__all__ = [
    "ORDER",
    "Log",
    "Snapshots",
    "StepCallback",
    "check_trace",
    "film_of",
    "format_terms",
    "format_time_left",
    "objective_and_terms",
    "read_trace",
    "seconds_left",
    "snapshot_path",
    "snapshots",
    "trace",
]

ORDER = ("content", "style", "grain", "tv")  # of the terms in a caption

StepCallback = Callable[["Step"], object]  # called with every step of a run
Log = Callable[[str], object]  # receives messages for the user, one line each


class Snapshots(NamedTuple):
    """The steps at which snapshots are written.

    every: at every so many steps; 0: at none. at: also at these.

    Example:
        100 in Snapshots(every=50)
    """

    every: int = 0
    at: tuple[int, ...] = ()

    def __contains__(self, step: object) -> bool:
        """Return whether a snapshot is written at a step."""
        every = self.every > 0 and isinstance(step, int) and step % self.every == 0
        return every or step in self.at


TRACES = (".jsonl", ".json")


def snapshot_path(target: Path, step: int) -> Path:
    """Return the path of a snapshot: OUT-01000.png beside OUT.png.

    Example:
        snapshot_path(Path("out.png"), 1000)  # out-01000.png
    """
    return target.with_name(f"{target.stem}-{step:05d}{target.suffix}")


def snapshots(run: Run, target: Path, wanted: Snapshots, log: Log) -> StepCallback:
    """Make a callback that writes snapshots, as OUT-01000.png beside OUT.png.

    A snapshot has the settings, the step and its terms inside, as a painting's file.

    Args:
        run: the run whose steps the callback receives.
        target: the painting's path.
        wanted: the steps to write.
        log: receives a message if a snapshot cannot be written; the run continues.

    Example:
        save = snapshots(run, Path("out.png"), Snapshots(every=100), print)
        for step in run.steps():
            save(step)
    """
    content, settings = run.problem.original, run.record

    def save(step: Step) -> None:
        if step.number not in wanted:
            return
        alpha = None if content.alpha is None else resize(content.alpha, *step.picture.shape[2:])
        path = snapshot_path(target, step.number)
        values = {"steps_done": step.number, **objective_and_terms(step)}
        try:
            write(to_image(step.shown, alpha), path, {**settings, **values})
        except OutputError as error:
            log(f"no snapshot at step {step.number}: {error}")

    return save


def objective_and_terms(step: Step) -> dict[str, Any]:
    """Return the objective and its weighted terms at a step, for JSON: non-finite values are None.

    Example:
        objective_and_terms(step)  # {"objective": 0.5, "terms": {"content": 0.1, ...}}
    """
    values = {
        "objective": float(step.value),
        **{name: float(value) for name, value in step.terms.items()},
    }
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return {"objective": finite.pop("objective"), "terms": finite}


def seconds_left(step: Step) -> float | None:
    """Estimate the remaining seconds of a run, with the work of a step proportional to its pixels.

    None before the third step: it is too early for an estimate.

    Example:
        format_time_left(seconds_left(step))
    """
    return step.seconds * (1 - step.fraction) / step.fraction if step.number >= 3 else None


def format_time_left(seconds: float | None) -> str:
    """Format seconds as "1:05 left"; None as "".

    Example:
        format_time_left(65)  # "1:05 left"
    """
    if seconds is None:
        return ""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


def trace(path: Path, log: Log) -> StepCallback:
    """Make a callback that writes a line of JSON for every step.

    A line has step, level, seconds, evaluations, objective and terms. The first step begins a new
    file. In a resumed run the file keeps its lines up to the step that the run is resumed from.

    Args:
        path: the file.
        log: receives one message if the file cannot be written; the run continues.

    Example:
        paint("photo.jpg", "painting.jpg", on_step=trace(Path("run.jsonl"), print))
    """
    broken, begun = False, False

    def add(step: Step) -> None:
        nonlocal broken, begun
        if broken:
            return
        line = {
            "step": step.number,
            "level": step.level,
            "seconds": round(step.seconds, 4),
            "evaluations": step.evaluations,
            **objective_and_terms(step),
        }
        try:
            if not begun and step.number > 1:
                path.write_bytes(_lines_before(path, step.number))
            begun = True
            with path.open("w" if step.number == 1 else "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            broken = True
            log(
                f"no trace from step {step.number} on: cannot write {path}: "
                f"{error.strerror or error}"
            )

    return add


def _lines_before(path: Path, number: int) -> bytes:
    """Read the lines of a trace before a step."""
    try:
        return b"".join(islice(read_lines(path), number - 1))
    except FileNotFoundError:
        return b""


def read_trace(path: str) -> Curve:
    """Read a file written by `trace` as a curve; a truncated last line is left out.

    Raises:
        PictureError: the file cannot be read, or is not a trace.

    Example:
        curve = read_trace("run.jsonl")
    """
    steps, levels, objective = [], [], []
    terms: dict[str, list[float]] = {}
    for number, row in _rows(path):
        steps.append(row.step)
        levels.append(row.level)
        objective.append(_number(row.objective))
        for name, value in row.terms.items():
            terms.setdefault(name, [math.nan] * (number - 1)).append(_number(value))
        for values in terms.values():
            values.extend([math.nan] * (number - len(values)))
    if not steps:
        raise PictureError(f"{path} is a trace without a step", path)
    return Curve(Path(path).stem, steps, levels, objective, terms)


class Row(BaseModel):
    """A line of a trace."""

    step: StrictInt
    level: StrictInt
    objective: StrictFloat | None
    terms: Annotated[dict[Text, StrictFloat | None], Field(max_length=1000)]


ROW = TypeAdapter(Row)


def _rows(path: str) -> Iterator[tuple[int, Row]]:
    """Yield the lines of a trace, numbered from 1. Raises PictureError."""
    number = 0
    try:
        for number, line in enumerate(read_lines(path), 1):
            yield number, validate(ROW, parse_json(line))
    except FileNotFoundError:
        raise PictureError(f"no trace at {path}", path) from None
    except OSError as error:
        raise PictureError(f"{path} cannot be read as a trace: {reason(error)}", path) from None
    except UnicodeError:
        raise PictureError(f"{path} cannot be read as a trace: it is not text", path) from None
    except ValueError:
        raise PictureError(
            f"{path} is not a trace: line {number} is not a step of --trace", path
        ) from None


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def film_of(path: Path, content: Picture, config: Config, frames: Path | None = None) -> Film:
    """Begin the time-lapse of a painting of `content`.

    Args:
        path: of the film; its suffix is its format.
        content: of the painting; its shape is the film's.
        config: of the painting; its size is the film's.
        frames: a lasting folder for the frames, in which an earlier film continues; None: a
            temporary one.

    Returns:
        A Film: call `add_frame(step.shown)` at every step, and `write(painting.pixels)` at the end.

    Raises:
        OutputError: the film cannot be written.

    Example:
        with film_of(Path("film.webp"), run.problem.original, run.config) as film:
            painting = run.paint(lambda step: film.add_frame(step.shown))
            film.write(painting.pixels)
    """
    return Film(path, *painted_size(content, config), content.alpha, frames)


def check_trace(path: str) -> Path:
    """Check that a trace can be written at `path`. Raises OutputError.

    Example:
        path = check_trace("run.jsonl")
    """
    return check_output(path, TRACES, "trace")


def format_terms(terms: dict[str, float | None]) -> str:
    """Format terms for a caption, summed by kind: "content 0.61, style 0.43".

    The spaces inside a pair are non-breaking.

    Example:
        format_terms(painting.terms)
    """
    sums = kinds({name: value for name, value in terms.items() if isinstance(value, (int, float))})
    ordered = sorted(
        sums, key=lambda kind: (ORDER.index(kind) if kind in ORDER else len(ORDER), kind)
    )
    return ", ".join(f"{kind}\u00a0{sums[kind]:.2g}" for kind in ordered)
