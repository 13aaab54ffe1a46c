"""A painting that a visitor has asked for: its request, its files, its progress."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from impasto.config import Config
from impasto.errors import PictureError
from impasto.figures.timelapse import Film
from impasto.images.files import header_size
from impasto.images.read import Picture, read_bytes
from impasto.images.write import write
from impasto.painting.callbacks import objective_and_terms, seconds_left
from impasto.painting.levels import enough_for, painted_size
from impasto.painting.run import Run
from impasto.painting.step import Step
from impasto.web.jobs.previews import FRAME_SIDE, jpeg, reduced
from impasto.web.jobs.request import FilmChoices, Kind, PaintRequest, Upload, clean

State = Literal["waiting", "painting", "paused", "done", "stopped", "failed", "cancelled"]
Requested = Literal["", "pause", "stop", "cancel"]
# A request counts if none that is stronger came before.
STRENGTH: dict[Requested, int] = {"": 0, "pause": 0, "stop": 1, "cancel": 2}
OVER = ("done", "stopped", "failed", "cancelled")  # the final states
FRAME_EVERY = 0.3  # seconds between two live pictures: each costs a copy from the device


class Progress(NamedTuple):
    """The progress of a painting. seconds_left: None if it is too early to say.

    frame, frames: of a film, the one that is painted now; of a sheet, the paintings that are done.
    """

    step: int
    steps: int
    level: int
    levels: int
    fraction: float
    seconds: float
    seconds_left: float | None
    objective: float | None
    terms: dict[str, float | None]
    frame: int = 0
    frames: int = 0


@dataclass
class Started:
    """A painting in progress."""

    run: Run
    steps: Iterator[Step]
    film: Film | None
    last: Step | None = None


@dataclass
class Job:
    """A painting, sheet or film that was asked for. The studio's lock guards `state` and
    `requested`.

    owner: a visitor or a program; owners take turns. visitor: an address, whose places in the
    queue are counted. content, styles, named: the names of its pictures, in the order of their
    files. settings: as they were asked for; those of a sheet are for its page only. last_seen:
    seconds since the epoch when its visitor was last there; None: a program's. saved: where else
    the painting was written. input_bytes: of its pictures that are kept. cells: of a sheet, by the
    number of the style: "", or why there is no painting. movie: of a film, the suffix of its file.
    """

    id: str
    owner: str
    visitor: str
    config: Config
    folder: Path
    content: str
    styles: list[str]
    named: list[str]
    timelapse: str
    kind: Kind = "painting"
    film: FilmChoices = field(default_factory=FilmChoices)
    settings: dict[str, Any] = field(default_factory=dict)
    last_seen: float | None = None
    state: State = "waiting"
    requested: Requested = ""
    error: str = ""
    note: str = ""
    notes: list[str] = field(default_factory=list)  # of the finished painting
    saved: str = ""
    input_bytes: int = 0
    progress: Progress | None = None
    frame: bytes = b""  # the newest live picture, a JPEG
    curve: list[tuple[int, float | None]] = field(default_factory=list)  # level, objective by step
    cells: dict[int, str] = field(default_factory=dict)
    movie: str = ""
    give_way: bool = False  # a film's: whether others wait
    begun: bool = False  # whether a worker has had it
    started: Started | None = None
    ended: float = 0.0  # seconds since the epoch
    paused_at: float = 0.0  # by time.monotonic()
    _framed_at: float = float("-inf")

    @classmethod
    def from_request(
        cls, request: PaintRequest, owner: str, visitor: str, config: Config, folder: Path
    ) -> Job:
        """The job of a request, whose files will lie in `folder`."""
        return cls(
            id=secrets.token_urlsafe(16),
            owner=owner,
            visitor=visitor,
            config=config,
            folder=folder,
            content=clean(request.content.name),
            styles=[clean(style.name) for style in request.styles],
            named=list(request.named),
            timelapse=request.timelapse,
            kind=request.kind,
            film=request.film,
            settings=dict(request.settings),
        )

    @property
    def over(self) -> bool:
        """True if its state is final."""
        return self.state in OVER

    @property
    def finished(self) -> bool:
        """True if there is a painting."""
        return self.state in ("done", "stopped")

    @property
    def title(self) -> str:
        """The name of its files without a suffix: CONTENT-STYLE."""
        second = ["styles"] if self.kind == "sheet" else self.styles[:1]
        return "-".join(Path(name).stem for name in [self.content, *second])

    @property
    def is_film(self) -> bool:
        """True if what it makes is a film, and not the picture of three frames of one."""
        return self.kind == "film" and not self.film.preview

    @property
    def product(self) -> Path:
        """The file of what it makes."""
        return self.file(f"film{self.movie}" if self.is_film else "painting.png")

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name

    def keep_inputs(self, request: PaintRequest) -> None:
        """Write the uploaded pictures into the folder, under names of our own."""
        self.folder.mkdir()
        uploads = [request.content, *request.styles, *request.named.values()]
        for k, upload in enumerate(uploads):
            try:
                data = upload.read()
            except OSError:
                text = f"{clean(upload.name)} is not kept here any more: upload it again"
                raise PictureError(text, upload.name) from None
            self.file(f"input-{k}").write_bytes(data)
            self.input_bytes += len(data)

    def enter(self, state: State) -> None:
        """Change the state, and what goes with it: the times, and at the end the memory."""
        if state == "paused" and self.state != "paused":
            self.paused_at = time.monotonic()
        self.begun = self.begun or state == "painting"
        if state in OVER:
            self.ended = time.time()
            self._drop()
        self.state = state  # last: who sees the end finds all done

    def _drop(self) -> None:
        """Free the run's memory, and delete the film's frames. The uploaded pictures are kept while
        a visitor may choose the painting again."""
        if self.started and self.started.film:
            self.started.film.close()
        self.started = None
        if self.last_seen is None:
            self.remove_inputs()

    def remove_inputs(self) -> None:
        """Delete the uploaded pictures."""
        self.input_bytes = 0
        for path in self.folder.glob("input-*"):
            path.unlink(missing_ok=True)

    def kept_input(self, number: int) -> Upload | None:
        """One of its pictures, in the order of their files; None if it is not kept any more."""
        path = self.file(f"input-{number}")
        name = clean([self.content, *self.styles, *self.named][number])
        return Upload(name, path.read_bytes) if path.exists() else None

    def kept_named(self, name: str) -> Upload | None:
        """A picture that the settings name; None if there is none, or it is not kept any more."""
        if name not in self.named:
            return None
        return self.kept_input(1 + len(self.styles) + self.named.index(name))

    def sizes(self, most: int) -> list[tuple[int, int]]:
        """(width, height) of its pictures, the content's first, from their headers.

        Raises PictureError, also for a picture of more than `most` pixels, and if all together
        have more than twice that.
        """
        return _sizes(self.files(), most)

    def files(self, first: int = 0) -> list[tuple[bytes, str]]:
        """The bytes of its pictures from the `first` one on, and their names in errors."""
        names = [self.content, *self.styles, *map(clean, self.named)]
        numbered = list(enumerate(names))[first:]
        return [(self.file(f"input-{k}").read_bytes(), name) for k, name in numbered]

    def enough(self, sizes: list[tuple[int, int]]) -> int:
        """The side, in pixels, up to which its pictures are worth decoding: twice the long side
        of the painting, or of a style."""
        width, height = sizes[0]
        return enough_for(height, width, self.config)

    def inputs(self, most: int) -> tuple[Picture, list[Picture], dict[str, Picture]]:
        """Read content, styles and named pictures, scaled down if larger than `enough`.

        Raises PictureError as `sizes` does.
        """
        files, styles = self.files(), len(self.styles)
        enough = self.enough(_sizes(files, most))
        read = [read_bytes(data, name, most, enough) for data, name in files]
        return read[0], read[1 : 1 + styles], dict(zip(self.named, read[1 + styles :], strict=True))

    def on_step(self, step: Step) -> None:
        """Record the progress, and a live picture a few times a second."""
        values = objective_and_terms(step)
        self.curve.append((step.level, values["objective"]))
        self.progress = Progress(
            step.number,
            step.steps,
            step.level,
            step.levels,
            step.fraction,
            step.seconds,
            seconds_left(step),
            **values,
        )
        if step.note and not self.note:
            mended = "went back to the best picture with a smaller step"
            self.note = f"{step.note} at step {step.number}: {mended}"
        self.show_sometimes(step)

    def show_sometimes(self, step: Step) -> None:
        """Make a step's picture the live one, if that was not done a moment ago."""
        if time.monotonic() - self._framed_at >= FRAME_EVERY:
            self.show(step.shown)

    def show(self, pixels: torch.Tensor) -> None:
        """Make `pixels` (1, 3, H, W), sRGB in [0, 1], the live picture."""
        self.frame, self._framed_at = jpeg(pixels, FRAME_SIDE), time.monotonic()

    def keep_before(self, content: Picture) -> None:
        """Write the content as it is compared with the painting: in its shape, of screen size."""
        height, width = painted_size(content, self.config)
        write(reduced(content.pixels, height, width), self.file("before.jpg"))


class Clock:
    """The seconds that are spent on a job, over all its turns with a worker; each begins one."""

    def __init__(self, job: Job):
        self._before = job.progress.seconds if job.progress else 0.0
        self._began = time.monotonic()

    @property
    def turn(self) -> float:
        """The seconds of this turn."""
        return time.monotonic() - self._began

    @property
    def total(self) -> float:
        """The seconds of all turns."""
        return self._before + self.turn


def _sizes(files: list[tuple[bytes, str]], most: int) -> list[tuple[int, int]]:
    sizes = [header_size(data, name, most) for data, name in files]
    if sum(width * height for width, height in sizes) > 2 * most:
        raise PictureError(
            f"the pictures have more than {2 * most:,} pixels together: scale them down first"
        )
    return sizes
