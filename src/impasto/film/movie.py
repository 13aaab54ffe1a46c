"""Write films: video files with PyAV, with the clip's sound, and folders of frames."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from impasto.errors import ConfigError, OutputError
from impasto.film.clip import BT601, Clip, Colors, load_av, open_video
from impasto.images.atomic import atomic_write
from impasto.images.write import check_output

__all__ = ["CODECS", "MOVIES", "MovieFrame", "MovieSettings", "check_movie", "write_movie"]

# encoder of each codec, and its options; one thread, so that it gives the same bytes every time.
# Not H.265: x265 writes beyond its memory for some small sizes
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    # mbtree off: with AVX-512, x264's does not give the same bytes every time
    "h264": ("libx264", {"preset": "medium", "threads": "1", "mbtree": "0"}),
    "vp9": ("libvpx-vp9", {"b": "0", "deadline": "good", "cpu-used": "4", "threads": "1"}),
    "gif": ("gif", {}),
}  # fmt: skip
CRF = {"h264": 18, "vp9": 24, "gif": None}
# the codecs of each suffix, the usual one first, and the muxer with its options
MOVIES: dict[str, tuple[tuple[str, ...], str, dict[str, str]]] = {
    ".mp4": (("h264",), "mp4", {"movflags": "+faststart"}),
    ".mov": (("h264",), "mov", {"movflags": "+faststart"}),
    ".mkv": (("h264", "vp9"), "matroska", {}),
    ".webm": (("vp9",), "webm", {}),
    ".gif": (("gif",), "gif", {}),
}
SILENT = (".gif",)
COPIED = ("audio", "subtitle")  # kinds of streams


class MovieSettings(NamedTuple):
    """How a film is written.

    codec: "" for the suffix's usual one. crf: quality, lower is better; None: the codec's usual
    one. audio: "copy" or "drop" the clip's sound and subtitles. start, end: seconds of the clip
    that the film is of.
    """

    codec: str = ""
    crf: int | None = None
    audio: str = "copy"
    start: float = 0.0
    end: float | None = None


class MovieFrame(NamedTuple):
    """A painted frame: its time and length in the clip's time base, and its PNG."""

    pts: int
    duration: int
    file: Path


def check_movie(path: str, clip: Clip, settings: MovieSettings) -> Path:
    """Check, before anything is painted, that a film can be written.

    A path without a suffix, or with a slash at its end, is a folder of frames.

    Raises:
        OutputError: another suffix, no permission, the clip itself, or sound that does not fit.
        ConfigError: the codec does not fit the suffix.
    """
    if is_folder(path):
        out = Path(path)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out} is not an empty folder: give another -o", path)
        return out
    out = check_output(path, tuple(MOVIES), "film")
    if os.path.realpath(out) == os.path.realpath(clip.path):
        raise OutputError(f"{out} is the clip itself: give another -o", path)
    codecs, muxer, _ = MOVIES[out.suffix.lower()]
    codec = settings.codec or codecs[0]
    if codec not in codecs:
        raise ConfigError(
            f"--codec {codec} does not go into {out.suffix}: choose from {', '.join(codecs)}", codec
        )
    av = load_av()
    try:
        av.codec.Codec(CODECS[codec][0], "w")
    except ValueError:
        raise OutputError(f"this PyAV was built without {codec}: choose another", codec) from None
    if settings.audio == "copy" and clip.colors is not None and out.suffix.lower() not in SILENT:
        _check_sound(av, out, clip, muxer)
    return out


def is_folder(path: str) -> bool:
    """Whether a path is one for a folder of frames."""
    return path.endswith(("/", os.sep)) or not Path(path).suffix or Path(path).is_dir()


def _check_sound(av: Any, out: Path, clip: Clip, muxer: str) -> None:
    with open_video(clip.path) as container, av.open(io.BytesIO(), "w", format=muxer) as target:
        able = target.supported_codecs
        for stream in (*container.streams.audio, *container.streams.subtitles):
            name = stream.codec_context.name
            canonical = stream.codec_context.codec.canonical_name
            if canonical not in able:
                raise OutputError(
                    f"{clip.path} has {stream.type} in {name}, which {out.suffix} cannot hold: "
                    "give -o film.mkv, or --audio drop",
                    name,
                )


def write_movie(
    out: Path, clip: Clip, frames: Iterable[MovieFrame], settings: MovieSettings
) -> None:
    """Write a film, one frame after the other, with the clip's sound and subtitles.

    Args:
        out: a path that `check_movie` accepted.
        clip: what was painted.
        frames: in their order.
        settings: codec, quality, sound.

    Raises:
        OutputError: it cannot be written.
    """
    av = load_av()
    try:
        with atomic_write(out) as part:
            _encode(av, part, out.suffix.lower(), clip, frames, settings)
    except av.FFmpegError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}", str(out)) from error


def _encode(
    av: Any,
    part: Path,
    suffix: str,
    clip: Clip,
    frames: Iterable[MovieFrame],
    settings: MovieSettings,
) -> None:
    codecs, muxer, options = MOVIES[suffix]
    codec = settings.codec or codecs[0]
    origin = round(Fraction(settings.start) / clip.time_base)
    with ExitStack() as stack:
        options = {"fflags": "+bitexact", **options}
        container = stack.enter_context(av.open(str(part), "w", format=muxer, options=options))
        stream, durations = None, {}
        sound: Iterator[Any] = iter(())
        for frame in frames:
            picture = _picture(frame.file)
            if stream is None:
                stream = _add_stream(container, codec, clip, picture.shape[:2], settings.crf)
                if settings.audio == "copy" and clip.colors and suffix not in SILENT:
                    source = stack.enter_context(open_video(clip.path))
                    sound = _sound(container, source, clip.begin, settings)
                waiting = next(sound, None)
            pts = frame.pts - origin
            time = pts * clip.time_base
            while waiting is not None and waiting[0] <= time:
                container.mux(waiting[1])
                waiting = next(sound, None)
            durations[pts] = frame.duration
            encoded = _video_frame(av, picture, codec, clip.colors or Colors())
            encoded.pts, encoded.time_base, encoded.duration = pts, clip.time_base, frame.duration
            _mux(container, stream.encode(encoded), durations)
        assert stream is not None
        _mux(container, stream.encode(None), durations)
        while waiting is not None:
            container.mux(waiting[1])
            waiting = next(sound, None)


def _mux(container: Any, packets: Iterable[Any], durations: dict[int, int]) -> None:
    """Write packets, each as long as its frame: the encoder does not tell the last one's length."""
    for packet in packets:
        packet.duration = durations.pop(packet.pts, packet.duration)
        container.mux(packet)


def _add_stream(
    container: Any, codec: str, clip: Clip, size: tuple[int, int], crf: int | None
) -> Any:
    encoder, options = CODECS[codec]
    quality = CRF[codec] if crf is None else crf
    if quality is not None:
        options = {**options, "crf": str(quality)}
    stream = container.add_stream(encoder, rate=clip.rate.limit_denominator(65535), options=options)
    stream.height, stream.width = size
    context = stream.codec_context
    context.time_base = stream.time_base = clip.time_base
    if codec == "gif":
        stream.pix_fmt = "pal8"
        return stream
    stream.pix_fmt = "yuv420p"
    colors = clip.colors or Colors()
    context.color_primaries, context.color_trc = colors.primaries, colors.transfer
    context.colorspace, context.color_range = colors.matrix, 1 + colors.full
    if clip.aspect != 1:
        context.sample_aspect_ratio = clip.aspect
    return stream


def _picture(file: Path) -> np.ndarray:
    with Image.open(file, formats=("PNG",)) as image:
        return np.asarray(image.convert("RGB"))


def _video_frame(av: Any, picture: np.ndarray, codec: str, colors: Colors) -> Any:
    if codec == "gif":
        image = Image.fromarray(picture).quantize(256)
        palette = np.zeros((256, 4), np.uint8)
        values = np.asarray(image.getpalette(), np.uint8).reshape(-1, 3)
        palette[: len(values), 1:], palette[:, 0] = values, 255  # ARGB
        return av.VideoFrame.from_ndarray((np.asarray(image), palette), format="pal8")
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    matrix = 5 if colors.matrix == BT601 else colors.matrix
    return frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=1 + colors.full)


def _sound(
    target: Any, source: Any, begin: Fraction, settings: MovieSettings
) -> Iterator[tuple[Fraction, Any]]:
    """Yield the packets of the clip's sound and subtitles, and when each is due.

    They are copied as they are, without the time before the start. begin: of the clip's own times.
    """
    streams = {
        stream.index: target.add_stream_from_template(stream)
        for stream in source.streams
        if stream.type in COPIED
    }
    chosen = [stream for stream in source.streams if stream.index in streams]
    start = Fraction(settings.start)
    for packet in source.demux(chosen) if chosen else ():
        if packet.dts is None:
            continue
        time = packet.dts * packet.time_base - begin - start
        if (start and time < 0) or (settings.end is not None and time >= settings.end - start):
            continue
        shift = round((begin + start) / packet.time_base)
        if shift:
            packet.dts -= shift
            if packet.pts is not None:
                packet.pts -= shift
        packet.stream = streams[packet.stream.index]
        yield time, packet
