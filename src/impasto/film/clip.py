"""Read clips: video files with PyAV, and folders of frames."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from impasto.errors import OutputError, PictureError, reason
from impasto.extras import needs_extra
from impasto.images.read import read
from impasto.images.write import FORMATS, to_image
from impasto.records import open_regular

__all__ = ["Clip", "ClipFrame", "Colors", "Note", "is_video", "load_av", "open_clip", "open_video"]

Note = Callable[[str], object]  # is told what the user should know, one line each
# Demuxers that read only the file they are given: playlists would open others. With those of
# sound, so that a file of sound alone is called so.
DEMUXERS = (
    "mov,matroska,webm,gif,apng,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,h264,hevc,ivf,m4v,mjpeg,"
    "mp3,wav,flac,aac"
)
VIDEOS = (
    *(".mp4", ".mov", ".m4v", ".3gp", ".mkv", ".webm", ".gif", ".apng", ".avi", ".flv"),
    *(".ts", ".m2ts", ".mts", ".mpg", ".mpeg", ".ogv", ".wmv", ".asf"),
)
MOST_FAILURES = 100  # attempts to read on in a broken file
BLOCK = 1 << 20  # bytes that are read at once
FULL = 2  # a range of values from 0 to 255
UNSPECIFIED = 2  # of H.273's primaries, transfer and matrix
BT709, BT601 = 1, 6  # matrices of H.273
HD = 720  # rows from which a video without tags is taken for BT.709, as players do


class Colors(NamedTuple):
    """Tags of H.273, and whether values go from 16 to 235 (full: from 0 to 255).

    Those that a file does not have are filled in as players do.
    """

    primaries: int = BT709
    transfer: int = BT709
    matrix: int = BT709
    full: bool = False


class ClipFrame(NamedTuple):
    """A frame of a clip.

    number: in the clip, from 1. pts: its time, in the clip's time base; duration: as long, or 0 if
    it is not known. pixels: (H, W, 3) uint8, upright.
    """

    number: int
    pts: int
    duration: int
    pixels: np.ndarray


class Clip(NamedTuple):
    """A video file or a folder of frames.

    Attributes:
        path: of the file or folder.
        sha256: of the file, or of the names and contents of the frames.
        time_base: seconds of one unit of a frame's pts.
        begin: seconds that the file's own times are later than those of the frames here: MPEG-TS
            begins anywhere.
        rate: frames a second, about.
        aspect: width of a pixel divided by its height.
        colors: the file's; None: a folder's.
        length: about how many frames it has.
        frames: yields them in order; tells a note what could not be read.
    """

    path: Path
    sha256: str
    time_base: Fraction
    begin: Fraction
    rate: Fraction
    aspect: Fraction
    colors: Colors | None
    length: int
    frames: Callable[[Note], Iterator[ClipFrame]]


def load_av() -> Any:
    """Import PyAV. Raises OutputError if it is missing."""
    try:
        import av  # an extra
    except ImportError:
        raise OutputError(needs_extra("a film", "video")) from None
    return av


def is_video(path: str) -> bool:
    """Whether a path is one of a clip, by its suffix, or as a folder."""
    return Path(path).suffix.lower() in VIDEOS or Path(path).is_dir()


def open_clip(path: str, rate: Fraction) -> Clip:
    """Open a clip.

    Args:
        path: of a video file, or a folder of frames, which are taken in the order of their names.
        rate: frames a second of a folder.

    Raises:
        PictureError: there is no video in it, or it cannot be read.
        OutputError: PyAV is missing.
    """
    return _folder(Path(path), rate) if Path(path).is_dir() else _video(Path(path))


# Folders
# --------------------------------------------------------------------------------------------------


def _folder(folder: Path, rate: Fraction) -> Clip:
    files = sorted(
        (path for path in folder.iterdir() if path.suffix.lower() in FORMATS), key=_by_number
    )
    if not files:
        raise PictureError(f"{folder} has no frames: it takes pictures, in the order of names", 0)
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.name.encode(errors="surrogateescape") + bytes.fromhex(_sha256(path)))

    def frames(note: Note) -> Iterator[ClipFrame]:
        first: tuple[int, ...] = ()
        for number, path in enumerate(files, 1):
            try:
                pixels = np.asarray(to_image(read(path).pixels))
            except PictureError as error:
                note(f"frame {number} is left out: {error}")
                continue
            first = first or pixels.shape
            if pixels.shape != first:
                size, other = (f"{shape[1]} x {shape[0]}" for shape in (pixels.shape, first))
                raise PictureError(f"{path} has {size} pixels, the first frame {other}", str(path))
            yield ClipFrame(number, number - 1, 1, pixels)

    return Clip(
        folder,
        digest.hexdigest(),
        1 / rate,
        Fraction(0),
        rate,
        Fraction(1),
        None,
        len(files),
        frames,
    )


def _by_number(path: Path) -> tuple[list[int], str]:
    return [int(digits) for digits in re.findall(r"\d+", path.stem)[-1:]], path.name


def _sha256(path: Path) -> str:
    """The sha256 of a file. Raises PictureError."""
    try:
        with open_regular(path) as file:
            digest = hashlib.sha256()
            while block := file.read(BLOCK):
                digest.update(block)
            return digest.hexdigest()
    except FileNotFoundError:
        raise PictureError(f"no clip at {path}", str(path)) from None
    except (OSError, ValueError) as error:
        raise PictureError(f"{path} cannot be opened: {reason(error)}", str(path)) from error


# Video files
# --------------------------------------------------------------------------------------------------


@contextmanager
def open_video(path: Path) -> Iterator[Any]:
    """Open a video file with PyAV, and nothing but that file. Raises PictureError."""
    av = load_av()
    with ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path))
            options = {"format_whitelist": DEMUXERS}
            container = stack.enter_context(av.open(file, options=options))
        except FileNotFoundError:
            raise PictureError(f"no clip at {path}", str(path)) from None
        except (av.FFmpegError, OSError, ValueError) as error:
            raise PictureError(_unreadable(path, error), str(path)) from None
        yield container


def _unreadable(path: Path, error: Exception) -> str:
    try:
        read(path)
    except PictureError:
        return f"{path} cannot be read as a video: {reason(error)}"
    return f"{path} is a picture, not a clip: `impasto paint` paints it"


def _video(path: Path) -> Clip:
    digest = _sha256(path)
    with open_video(path) as container:
        stream = _stream_of(container, path)
        context = stream.codec_context
        begin = max(Fraction(0), Fraction(container.start_time or 0, 1_000_000))
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        count = 0
        with suppress(load_av().FFmpegError):  # a broken end is told when it is decoded
            for packet in container.demux(stream):
                count += packet.pts is not None
        if not count:
            raise PictureError(f"{path} has no frames", str(path))
        return Clip(
            path,
            digest,
            stream.time_base,
            begin,
            rate,
            context.sample_aspect_ratio or Fraction(1),
            _colors(context),
            count,
            lambda note: _frames(path, begin, note),
        )


def _stream_of(container: Any, path: Path) -> Any:
    """The first stream of pictures that is not a cover. Raises PictureError."""
    av = load_av()
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    what = "has sound, but no picture" if container.streams.audio else "has no video in it"
    raise PictureError(f"{path} {what}", str(path))


def _colors(context: Any) -> Colors:
    """The colors of a stream, with those that it does not name as players take them."""
    guess = BT709 if context.height >= HD else BT601
    primaries, transfer, matrix = (
        guess if value in (0, UNSPECIFIED) else value
        for value in (context.color_primaries, context.color_trc, context.colorspace)
    )
    return Colors(primaries, transfer, matrix, context.color_range == FULL)


def _frames(path: Path, begin: Fraction, note: Note) -> Iterator[ClipFrame]:
    """Decode a file's frames; those that cannot be decoded are left out, with a note."""
    lost, number, last = 0, 0, -(1 << 62)
    with open_video(path) as container:
        stream = _stream_of(container, path)
        colors, origin = _colors(stream.codec_context), round(begin / stream.time_base)
        for frame in _decoded(container, stream):
            if frame is None or frame.pts is None or frame.pts <= last:
                lost += 1
                continue
            number, last = number + 1, frame.pts
            pts, duration = frame.pts - origin, frame.duration or 0
            yield ClipFrame(number, pts, duration, _pixels(frame, colors))
    if lost:
        note(f"{lost} broken frames of {path} are left out")
    if not number:
        raise PictureError(f"{path} has no frame that can be read", str(path))


def _decoded(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of a stream, and None for what cannot be read or decoded."""
    av = load_av()
    failed = 0  # times in a row that nothing could be read
    packets = container.demux(stream)
    while failed < MOST_FAILURES:
        try:
            packet = next(packets)
        except (StopIteration, av.error.EOFError):
            return
        except av.FFmpegError:
            yield None
            failed, packets = failed + 1, container.demux(stream)  # from where it is
            continue
        failed = 0
        try:
            yield from packet.decode()
        except av.error.EOFError:
            return
        except av.FFmpegError:
            yield None


def _pixels(frame: Any, colors: Colors) -> np.ndarray:
    """The pixels of a frame as RGB, (H, W, 3) uint8, upright."""
    # swscale numbers its matrices as H.273 does, but for one of the two names of BT.601
    matrix = 5 if colors.matrix == BT601 else colors.matrix
    rgb = frame.to_ndarray(format="rgb24", src_colorspace=matrix)
    turns = round(frame.rotation / 90)
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else np.asarray(rgb)
