"""Make films of a painting: GIF, WebP and APNG with Pillow, MP4 and WebM with PyAV (extra
`video`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import accumulate, pairwise
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from impasto.errors import OutputError
from impasto.extras import needs_extra
from impasto.figures.frames import Frames, Kept
from impasto.images.atomic import atomic_write
from impasto.images.read import resize
from impasto.images.write import check_output, to_image

__all__ = ["FILMS", "Film", "FilmSuffix", "check_film", "film_size", "films"]

FilmSuffix = Literal[".gif", ".webp", ".apng", ".mp4", ".webm"]
FILMS: tuple[str, ...] = get_args(FilmSuffix)
# pixels on the long side
LARGEST = {".gif": 512, ".webp": 640, ".apng": 512, ".mp4": 1280, ".webm": 1280}
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    # mbtree off: with AVX-512, x264's does not give the same bytes every time
    ".mp4": ("libx264", {"crf": "20", "preset": "medium", "threads": "1", "mbtree": "0"}),
    ".webm": (
        "libvpx-vp9",
        {"crf": "24", "b": "0", "deadline": "good", "cpu-used": "4", "threads": "1"},
    ),
}
# the index first, so that a page can play it while it loads
CONTAINERS = {".mp4": {"movflags": "+faststart"}, ".webm": {}}
# H.273: code of color primaries, transfer and matrix; players assume another only for small films
BT709 = 1
RATE = 30  # frames a second of a video
FRAMES = 60  # a film has this many frames to twice as many, if enough changes are visible
SECONDS, HOLD = 6.0, 2.0  # of the painting, and of its last frame
SHORTEST, LONGEST = 0.04, 0.5  # seconds of one frame but the last
FIRST_CHANGE = 0.5 / 255  # a smaller change between two frames is not visible
PROXY = 96  # pixels: the long side of the small copies that are compared


def films() -> list[str]:
    """The suffixes of the films that this installation can make."""
    return [suffix for suffix in FILMS if suffix not in CODECS or find_spec("av")]


def check_film(path: str | PathLike[str]) -> Path:
    """Check that a film can be written at `path`. Raises OutputError."""
    out = check_output(path, FILMS, "film")
    if out.suffix.lower() in CODECS:
        _av()
    return out


def film_size(path: Path, height: int, width: int) -> tuple[int, int]:
    """(height, width) of the film of a painting: the painting's, up to the limit of its format."""
    scale = min(1.0, LARGEST[path.suffix.lower()] / max(height, width))
    even = 2 if path.suffix.lower() in CODECS else 1  # video has colors at half the size
    return tuple(max(even, round(side * scale) // even * even) for side in (height, width))  # type: ignore[return-value]


class Film:
    """Collects the visibly different frames of a film, and writes it.

    A frame is kept when it differs visibly from the last one kept. Beyond 2 FRAMES the threshold is
    doubled and the frames between are dropped, so a run of any length takes about as much disk.
    Frames are in a temporary folder until the `with` of the film ends, or in a lasting one: then
    the film of a resumed run has the same bytes as that of an uninterrupted one.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        height: int,
        width: int,
        alpha: torch.Tensor | None = None,
        frames: Path | None = None,
    ):
        """Begin a film.

        Args:
            path: of the film; its suffix is its format.
            height, width: of the painting.
            alpha: (1, 1, h, w) in [0, 1]; the film shows white behind the painting.
            frames: a lasting folder for the frames, in which an earlier film continues.

        Raises:
            OutputError: the film or its frames cannot be written.
        """
        self.path = check_film(path)
        self.height, self.width = film_size(self.path, height, width)
        self._alpha = None if alpha is None else resize(alpha, self.height, self.width)
        self._frames = Frames(frames)
        self._kept: list[Kept] = []
        self._visible, self._count = FIRST_CHANGE, 0
        self._restored = frames is None  # whether the frames of an earlier run have been loaded

    def add_frame(self, pixels: torch.Tensor, number: int | None = None) -> None:
        """Add a frame if it differs visibly from the last one.

        Args:
            pixels: (1, 3, h, w) in [0, 1], of any size.
            number: of the step, from 1; a restored film continues from its state before that step.
            None: the next number.

        Raises:
            OutputError: the disk is full.
        """
        self._count = self._count + 1 if number is None else number
        if not self._restored:
            self._restore(self._count - 1)
        proxy = self._proxy(pixels)
        if not self._kept or _change(self._kept[-1].proxy, proxy) >= self._visible:
            self._keep(pixels, proxy)
            while len(self._kept) > 2 * FRAMES:
                self._visible *= 2
                self._thin()
            self._frames.note(self._count, self._visible, self._kept)

    def saved(self, number: int) -> None:
        """Note that a checkpoint of step `number`, the last one added, was written."""
        self._frames.saved(number, self._kept)

    def _restore(self, number: int) -> None:
        """Load the film of an earlier run as it was after its step `number`."""
        if found := self._frames.restore(number, (1, 3, *self._proxy_size())):
            self._visible, self._kept = found
        self._restored = True

    def _keep(self, pixels: torch.Tensor, proxy: torch.Tensor) -> None:
        frame = to_image(resize(pixels.clamp(0, 1), self.height, self.width), self._alpha)
        if frame.mode == "RGBA":
            frame = Image.alpha_composite(Image.new("RGBA", frame.size, "white"), frame).convert(
                "RGB"
            )
        self._frames.add(self._count, frame, proxy)
        self._kept.append(
            Kept(self._count, proxy, _change(self._kept[-1].proxy, proxy) if self._kept else 0.0)
        )

    def _proxy_size(self) -> list[int]:
        scale = PROXY / max(self.height, self.width)
        return [max(1, round(side * scale)) for side in (self.height, self.width)]

    def _proxy(self, pixels: torch.Tensor) -> torch.Tensor:
        """A small copy of `pixels`: of one size for all levels, and cheap to compare at every step.

        Always on the CPU, so that a resumed film finds the same changes.
        """
        return (
            F.interpolate(pixels.detach().clamp(0, 1), self._proxy_size(), mode="area")
            .cpu()
            .contiguous()
        )

    def _thin(self) -> None:
        kept: list[Kept] = []
        for each in self._kept:
            change = _change(kept[-1].proxy, each.proxy) if kept else 0.0
            if not kept or change >= self._visible:
                kept.append(each._replace(change=change))
            else:
                self._frames.drop(each.number)
        self._kept = kept

    def durations(self) -> list[float]:
        """Seconds of each frame, proportional to the change to the next one; the last is held."""
        changes = [each.change for each in self._kept[1:]]
        # the jump between two levels must not become a long pause
        most = 3 * sorted(changes)[len(changes) // 2] if changes else 0.0
        shares = [min(change, most) for change in changes]
        length = min(SECONDS, 0.25 * len(shares))
        return [
            min(LONGEST, max(SHORTEST, length * share / (sum(shares) or 1.0))) for share in shares
        ] + [HOLD]

    def write(self, last: torch.Tensor) -> Path:
        """Write the film, with `last` (1, 3, h, w) at its end. Raises OutputError."""
        proxy = self._proxy(last)
        if len(self._kept) > 1 and _change(self._kept[-1].proxy, proxy) < self._visible:
            self._frames.drop(self._kept.pop().number)  # nearly the same as the last one
        self._count += 1
        self._keep(last, proxy)
        files, suffix = (
            [self._frames.file(each.number) for each in self._kept],
            self.path.suffix.lower(),
        )
        durations = self.durations()
        with atomic_write(self.path) as part:
            if suffix in CODECS:
                _write_video(part, suffix, (self.height, self.width), files, durations)
            else:
                _write_animation(part, suffix, files, durations)
        return self.path

    def __enter__(self) -> Film:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the frames of a temporary folder."""
        self._frames.close()


def _change(a: torch.Tensor, b: torch.Tensor) -> float:
    """Root mean square difference of two proxies."""
    return float((a - b).square().mean().sqrt())


def _write_animation(
    part: Path, suffix: str, files: Sequence[Path], durations: Sequence[float]
) -> None:
    formats: dict[str, tuple[str, dict[str, Any]]] = {
        ".gif": ("GIF", {"disposal": 1}),
        ".webp": ("WEBP", {"quality": 80, "method": 4}),
        ".apng": ("PNG", {"default_image": False}),
    }
    kind, options = formats[suffix]
    with ExitStack() as stack, part.open("wb") as out:
        frames = [
            stack.enter_context(Image.open(file, formats=("PNG",))) for file in files
        ]  # opened lazily: each is read when it is written
        frames[0].save(
            out,
            format=kind,
            save_all=True,
            append_images=frames[1:],
            loop=0,
            duration=[round(100 * each) * 10 for each in durations],
            **options,
        )


def _write_video(
    part: Path,
    suffix: str,
    size: tuple[int, int],
    files: Sequence[Path],
    durations: Sequence[float],
) -> None:
    """Encode a video at RATE frames a second; each frame is repeated for its duration."""
    av = _av()
    codec, options = CODECS[suffix]
    ends = [round(RATE * each) for each in accumulate(durations, initial=0.0)]
    exact = {"fflags": "+bitexact", **CONTAINERS[suffix]}
    try:
        with av.open(str(part), "w", format=suffix[1:], options=exact) as container:
            stream = container.add_stream(codec, rate=RATE, options=options)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            context = stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = BT709
            for file, (begin, end) in zip(files, pairwise(ends), strict=True):
                with Image.open(file, formats=("PNG",)) as image:
                    pixels = np.asarray(image)
                for _ in range(end - begin):
                    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                    container.mux(
                        stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709"))
                    )
            container.mux(stream.encode(None))
    except av.FFmpegError as error:
        raise ValueError(error.strerror) from error  # `atomic_write` adds the film's name


def _av() -> Any:
    try:
        import av  # an extra
    except ImportError:
        raise OutputError(
            f"{needs_extra('MP4 or WebM', 'video')}; or choose .gif, .webp or .apng"
        ) from None
    return av
