"""One painting of the studio: what is wanted, how far it is, what it left behind."""

from __future__ import annotations

import io
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from impasto.errors import ImpastoError, PictureError
from impasto.images.read import Picture, header_size, read_bytes, resize
from impasto.images.write import to_image, write
from impasto.painting.callbacks import reached_at, seconds_left
from impasto.painting.levels import painted_size, scaled_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch
    from PIL import Image

    from impasto.config import Config
    from impasto.figures.timelapse import Film
    from impasto.painting.run import Run
    from impasto.painting.step import Step

__all__ = [
    "OVER",
    "BusyError",
    "Job",
    "Limits",
    "PaintRequest",
    "Progress",
    "Started",
    "State",
    "Upload",
    "Wanted",
    "clean",
    "jpeg",
    "thumbnail",
]

State = Literal["waiting", "painting", "paused", "done", "stopped", "failed", "cancelled"]
Wanted = Literal["", "pause", "stop", "cancel"]
OVER = ("done", "stopped", "failed", "cancelled")  # the states that nothing follows
# seconds between two live pictures: more of them nobody sees, and each costs a copy
FRAME_EVERY = 0.3
# pixels of a live picture, and of the two that are compared at the end
FRAME_SIDE, SHOWN_SIDE = 768, 1600
MORE_IN = 16  # an uploaded picture may have this many times the pixels of a painting


class BusyError(ImpastoError):
    """The queue is full: try again later."""


class Limits(NamedTuple):
    """What the studio takes on. upload: bytes of a request; pixels, steps: of a painting.

    keep: seconds that pictures stay. seconds: that a painting may take; then it ends with what
    there is.
    """

    workers: int = 1
    waiting: int = 20
    upload: int = 50_000_000
    pixels: int = 4_194_304
    steps: int = 2000
    keep: float = 3600.0
    seconds: float = 3600.0

    @property
    def read(self) -> int:
        """Pixels that an uploaded picture may have."""
        return MORE_IN * self.pixels


class Upload(NamedTuple):
    """A picture from outside: the name it goes by, which never is a path here, and how to get its
    bytes."""

    name: str
    read: Callable[[], bytes]


class PaintRequest(NamedTuple):
    """What somebody wants painted.

    named: the pictures that the settings name, by name. timelapse: the film's suffix, or "". base:
    the id of an earlier painting to paint on from, or "".
    """

    content: Upload
    styles: list[Upload]
    settings: dict[str, Any]
    named: Mapping[str, Upload] = MappingProxyType({})
    timelapse: str = ""
    base: str = ""


class Progress(NamedTuple):
    """How far a painting is. seconds: spent on it; left: to come, None: too early to say."""

    step: int
    steps: int
    level: int
    levels: int
    fraction: float
    seconds: float
    left: float | None
    objective: float | None
    terms: dict[str, float | None]


@dataclass
class Started:
    """A painting in the making: its run, its stream of Steps and the last of them, its film."""

    run: Run
    steps: Iterator[Step]
    film: Film | None
    last: Step | None = None


@dataclass
class Job:
    """A painting that was asked for. The studio's lock guards `state`, `wanted` and `rank`.

    owner: whose turn it is when several wait, a page or a program; visitor: whose places in the
    queue are counted, an address. watched: seconds since the epoch at which its page was last
    there; None: a program's, which need not wait.
    folder: its files and nobody else's. content, styles, named: the names of its pictures, in the
    order of their files.
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
    rank: tuple[float, int]
    watched: float | None
    ended: float = 0.0
    state: State = "waiting"
    wanted: Wanted = ""
    error: str = ""
    note: str = ""
    progress: Progress | None = None
    frame: bytes = b""
    frames: int = 0
    # (level, objective) of each step
    curve: list[tuple[int, float | None]] = field(default_factory=list)
    run: Started | None = None
    idle: float = 0.0  # seconds that it was begun and not being painted
    aside: float = 0.0  # since when it is; 0: it is not
    paused: float = 0.0  # since when, if it is
    _shown: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.state in OVER

    @property
    def finished(self) -> bool:
        """Whether there is a painting."""
        return self.state in ("done", "stopped")

    @property
    def title(self) -> str:
        """What its file is called: CONTENT-STYLE."""
        return "-".join(Path(name).stem for name in [self.content, *self.styles[:1]])

    def file(self, name: str) -> Path:
        """The path of one of its files."""
        return self.folder / name

    def keep_inputs(self, order: PaintRequest) -> None:
        """Put the uploaded pictures into the folder, under names of our own."""
        self.folder.mkdir()
        uploads = [order.content, *order.styles, *order.named.values()]
        for k, upload in enumerate(uploads):
            try:
                data = upload.read()
            except OSError:
                name = clean(upload.name)
                raise PictureError(
                    f"{name} is not kept here any more: upload it again", name
                ) from None
            self.file(f"input-{k}").write_bytes(data)

    def drop(self) -> None:
        """Let go of the run, and of the uploaded pictures."""
        if self.run and self.run.film:
            self.run.film.close()
        self.run = None
        for path in self.folder.glob("input-*"):
            path.unlink(missing_ok=True)

    def sizes(self, most: int) -> list[tuple[int, int]]:
        """(width, height) of its pictures, from their headers, the content's first.

        Raises PictureError, also for a picture of more than `most` pixels, or all together of more
        than twice that.
        """
        return _sizes(self._files(), most)

    def _files(self) -> list[tuple[bytes, str]]:
        """The bytes of its pictures, and what errors call them."""
        names = [self.content, *self.styles, *map(clean, self.named)]
        return [(self.file(f"input-{k}").read_bytes(), name) for k, name in enumerate(names)]

    def enough(self, sizes: list[tuple[int, int]]) -> int:
        """Pixels of a side that its pictures need not exceed: twice the long side of the painting,
        or of a style."""
        width, height = sizes[0]
        # by EXIF
        turned = (scaled_size(height, width, self.config), scaled_size(width, height, self.config))
        return 2 * math.ceil(max(1.0, self.config.style_scale) * max(map(max, turned)))

    def inputs(self, most: int) -> tuple[Picture, list[Picture], dict[str, Picture]]:
        """Content, styles and named pictures, as read; scaled down where they are larger than
        `enough`.

        Raises PictureError, as `sizes` does.
        """
        files, styles = self._files(), len(self.styles)
        enough = self.enough(_sizes(files, most))
        read = [read_bytes(data, name, most, enough) for data, name in files]
        return read[0], read[1 : 1 + styles], dict(zip(self.named, read[1 + styles :], strict=True))

    def on_step(self, step: Step) -> None:
        """A reader of Steps: the progress of each, and a live picture a few times a second."""
        values = reached_at(step)
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
            self.note = (
                f"{step.note} at step {step.number}: went back to the best picture "
                "with a smaller step"
            )
        if self.frames == 0 or time.monotonic() - self._shown >= FRAME_EVERY:
            self.show(step.shown)

    def show(self, pixels: torch.Tensor) -> None:
        """Make `pixels` (1, 3, h, w) in [0, 1] the live picture."""
        self.frame = jpeg(pixels, FRAME_SIDE)
        self.frames += 1
        self._shown = time.monotonic()

    def keep_before(self, content: Picture) -> None:
        """Keep the content as it is compared with the painting: its shape, no larger than a page
        shows."""
        height, width = painted_size(content, self.config)
        small = resize(content.pixels, *_within(height, width, SHOWN_SIDE))
        write(to_image(small), self.file("before.jpg"))


def _sizes(files: list[tuple[bytes, str]], most: int) -> list[tuple[int, int]]:
    found = [header_size(data, name, most) for data, name in files]
    if sum(width * height for width, height in found) > 2 * most:
        raise PictureError(
            f"the pictures have more than {2 * most:,} pixels together: scale them down first"
        )
    return found


def jpeg(pixels: torch.Tensor, most: int) -> bytes:
    """A JPEG of `pixels` (1, 3, h, w) in [0, 1], at most so many pixels on its long side."""
    out = io.BytesIO()
    to_image(resize(pixels, *_within(pixels.shape[2], pixels.shape[3], most))).save(
        out, "JPEG", quality=85
    )
    return out.getvalue()


def _within(height: int, width: int, most: int) -> tuple[int, int]:
    scale = min(1.0, most / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def clean(name: str) -> str:
    """A file's name from outside as it may stand in settings and titles: no folder, nothing
    unprintable, not long."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return (
        "".join(each for each in last if each.isprintable() and each != "=").strip()[-100:]
        or "picture"
    )


def thumbnail(data: bytes, name: str, most: int) -> Image.Image:
    """The picture as the page draws on it: of one size, so that a brush has one too.

    Raises PictureError, also for a picture of more than `most` pixels.
    """
    pixels = read_bytes(data, name, most, 2 * FRAME_SIDE).pixels
    height, width = pixels.shape[2:]
    scale = FRAME_SIDE / max(height, width)
    return to_image(resize(pixels, max(1, round(height * scale)), max(1, round(width * scale))))
