"""Readers of the stream of Steps: snapshots, the trace, the time-lapse. Each keeps what it needs,
and no more."""

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
from impasto.figures.timelapse import Film
from impasto.images.read import resize
from impasto.images.write import check_output, to_image, write
from impasto.painting.levels import painted_size
from impasto.painting.run import Run
from impasto.records import Text, checked, lines_of, parsed

if TYPE_CHECKING:
    from impasto.config import Config
    from impasto.figures.plots import Curve
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

# of the terms in a caption; a file has them in the alphabet's
ORDER = ("content", "style", "grain", "tv")

StepCallback = Callable[["Step"], object]
Log = Callable[[str], object]


class Snapshots(NamedTuple):
    """The steps whose pictures are kept: every so many (0: none), and at some."""

    every: int = 0
    at: tuple[int, ...] = ()

    def __contains__(self, step: object) -> bool:
        """Whether the picture of a step is kept."""
        every = self.every > 0 and isinstance(step, int) and step % self.every == 0
        return every or step in self.at


TRACES = (".jsonl", ".json")


def snapshot_path(target: Path, step: int) -> Path:
    """Where the snapshot of a step lies: OUT-01000.png beside OUT.png."""
    return target.with_name(f"{target.stem}-{step:05d}{target.suffix}")


def snapshots(run: Run, target: Path, wanted: Snapshots, log: Log) -> StepCallback:
    """Write OUT-01000.png beside OUT.png at the steps `wanted`, with the terms inside.

    One that cannot be written is told to `log`, and does not end the run.
    """
    content, settings = run.problem.original, run.record

    def save(step: Step) -> None:
        if step.number not in wanted:
            return
        alpha = None if content.alpha is None else resize(content.alpha, *step.picture.shape[2:])
        path = snapshot_path(target, step.number)
        reached = {"steps_done": step.number, **objective_and_terms(step)}
        try:
            write(to_image(step.shown, alpha), path, {**settings, **reached})
        except OutputError as error:
            log(f"no snapshot at step {step.number}: {error}")

    return save


def objective_and_terms(step: Step) -> dict[str, Any]:
    """The objective and its weighted terms at a step, as JSON takes them: None where a value is not
    finite."""
    values = {
        "objective": float(step.value),
        **{name: float(value) for name, value in step.terms.items()},
    }
    finite = {name: value if math.isfinite(value) else None for name, value in values.items()}
    return {"objective": finite.pop("objective"), "terms": finite}


def seconds_left(step: Step) -> float | None:
    """From the work done: a step at a large level counts for as many as its pixels. None: too early
    to say."""
    return step.seconds * (1 - step.fraction) / step.fraction if step.number >= 3 else None


def format_time_left(seconds: float | None) -> str:
    """ "1:05 left", or "" where nobody knows."""
    if seconds is None:
        return ""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{rest:02} left" if hours else f"{minutes}:{rest:02} left"


def trace(path: Path, log: Log) -> StepCallback:
    """Writes one line of JSON a step, as it goes: step, level, seconds, evaluations, objective,
    terms.

    The file begins anew with the first step; a run that is resumed goes on in it, after what it was
    resumed from. Where it cannot be written, `log` is told once, and the run goes on.
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
                path.write_bytes(_until(path, step.number))
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


def _until(path: Path, number: int) -> bytes:
    """The whole lines of a trace before a step."""
    try:
        return b"".join(islice(lines_of(path), number - 1))
    except FileNotFoundError:
        return b""


def read_trace(path: str) -> Curve:
    """A trace as `trace` wrote it; a last line that was cut off is left out. Raises
    PictureError."""
    from impasto.figures.plots import Curve

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
    """The lines of a trace, numbered from 1. Raises PictureError."""
    number = 0
    try:
        for number, line in enumerate(lines_of(path), 1):
            yield number, checked(ROW, parsed(line))
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
    """The film of a painting of `content`: its `look` reads pictures. frames: as Film's. Raises
    OutputError."""
    return Film(path, *painted_size(content, config), content.alpha, frames)


def check_trace(path: str) -> Path:
    """`path`, if a trace can be written there. Raises OutputError."""
    return check_output(path, TRACES, "trace")


def format_terms(terms: dict[str, float | None]) -> str:
    """ "content 0.61, style 0.43": the sum of each kind of term; the spaces inside a pair do not
    break."""
    sums = kinds({name: value for name, value in terms.items() if isinstance(value, (int, float))})
    ordered = sorted(
        sums, key=lambda kind: (ORDER.index(kind) if kind in ORDER else len(ORDER), kind)
    )
    return ", ".join(f"{kind}\u00a0{sums[kind]:.2g}" for kind in ordered)
