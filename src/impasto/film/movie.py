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
from impasto.film.clip import BT601, Clip, Colors, Note, load_av, open_video
from impasto.images.atomic import atomic_write
from impasto.images.write import check_output

__all__ = ["CODECS", "MOVIES", "MovieFrame", "MovieSettings", "check_movie", "write_movie"]

# encoder of each codec, and its options; one thread, so that it gives the same bytes every time
CODECS: dict[str, tuple[str, dict[str, str]]] = {
    # mbtree off: with AVX-512, x264's does not give the same bytes every time
    "h264": ("libx264", {"preset": "medium", "threads": "1", "mbtree": "0"}),
    "h265": (
        "libx265",
        {"preset": "medium", "x265-params": "log-level=none:pools=none:frame-threads=1"},
    ),
    "vp9": ("libvpx-vp9", {"b": "0", "deadline": "good", "cpu-used": "4", "threads": "1"}),
    "gif": ("gif", {}),
}
CRF = {"h264": 18, "h265": 20, "vp9": 24, "gif": None}
MOST_CRF = {"h264": 51, "h265": 51, "vp9": 63}
NARROW = 64  # pixels: x265 writes beyond its memory for pictures of less, seen up to 48 pixels
# the codecs of each suffix, the usual one first, and the muxer with its options
MOVIES: dict[str, tuple[tuple[str, ...], str, dict[str, str]]] = {
    ".mp4": (("h264", "h265"), "mp4", {"movflags": "+faststart"}),
    ".mov": (("h264", "h265"), "mov", {"movflags": "+faststart"}),
    ".mkv": (("h264", "h265", "vp9"), "matroska", {}),
    ".webm": (("vp9",), "webm", {}),
    ".gif": (("gif",), "gif", {}),
}
SILENT = (".gif",)
COPIED = ("audio", "subtitle")  # kinds of streams
TAGS = ("language", "title")  # of a copied stream


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


def check_movie(
    path: str,
    clip: Clip,
    settings: MovieSettings,
    size: tuple[int, int] | None = None,
    note: Note = lambda text: None,
) -> Path:
    """Check, before anything is painted, that a film can be written.

    A path without a suffix, or with a slash at its end, is a folder of frames.

    Args:
        path: of the film.
        clip: what is to be painted.
        settings: codec and sound.
        size: (height, width) of the film, if it is known.
        note: is told which subtitles are left out, as the format cannot hold them.

    Raises:
        OutputError: another suffix, no permission, the clip itself, or sound that does not fit.
        ConfigError: the codec does not fit the suffix or the size.
    """
    if is_folder(path):
        out = Path(path)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out} is not an empty folder: give another -o", path)
        return out
    out = check_output(path, tuple(MOVIES), "film")
    if os.path.realpath(out) == os.path.realpath(clip.path):
        raise OutputError(f"{out} is the clip itself: give another -o", path)
    suffix = out.suffix.lower()
    codec = settings.codec or MOVIES[suffix][0][0]
    _check_codec(suffix, codec, size)
    if (settings.crf or 0) > MOST_CRF.get(codec, MOST_CRF["vp9"]):
        raise ConfigError(f"--crf is {settings.crf}: {codec} takes 0 to {MOST_CRF[codec]}", codec)
    if settings.audio == "copy" and clip.colors is not None and suffix not in SILENT:
        _check_sound(suffix, clip, note)
    return out


def _check_codec(suffix: str, codec: str, size: tuple[int, int] | None) -> None:
    codecs = MOVIES[suffix][0]
    if codec not in codecs:
        other = next(iter(suffix for suffix, movie in MOVIES.items() if codec in movie[0]), "")
        raise ConfigError(
            f"--codec {codec} does not go into {suffix}: choose from {', '.join(codecs)}"
            + (f", or give -o film{other}" if other else ""),
            codec,
        )
    if codec == "h265" and size and min(size) < NARROW:
        raise ConfigError(
            f"--codec h265 takes films of {NARROW} pixels and more a side, not "
            f"{size[1]} x {size[0]}: give a larger --size, or --codec h264",
            codec,
        )
    try:
        load_av().codec.Codec(CODECS[codec][0], "w")
    except ValueError:
        raise OutputError(f"this PyAV was built without {codec}: choose another", codec) from None


def is_folder(path: str) -> bool:
    """Whether a path is one for a folder of frames."""
    return path.endswith(("/", os.sep)) or not Path(path).suffix or Path(path).is_dir()


def _check_sound(suffix: str, clip: Clip, note: Note) -> None:
    """Check that a format holds the clip's sound; tell the subtitles that it does not hold.

    Raises OutputError.
    """
    with open_video(clip.path) as container:
        for stream in (*container.streams.audio, *container.streams.subtitles):
            if _holds(suffix, stream):
                continue
            what = f"{stream.type}s" if stream.type == "subtitle" else stream.type
            what = f"{clip.path} has {what} in {stream.codec_context.name}"
            able = [f"-o film{other}" for other in MOVIES if _holds(other, stream)]
            advice = f"give {able[0]}, or --audio drop" if able else "give --audio drop"
            if stream.type == "audio":
                raise OutputError(f"{what}, which {suffix} cannot hold: {advice}", suffix)
            keep = f"; {able[0]} keeps them" if able else ""
            note(f"{what}, which {suffix} cannot hold: they are left out{keep}")


def _holds(suffix: str, stream: Any) -> bool:
    """Whether a format can hold a stream of sound or subtitles as it is."""
    if suffix in SILENT:
        return False
    with load_av().open(io.BytesIO(), "w", format=MOVIES[suffix][1]) as target:
        return stream.codec_context.codec.canonical_name in target.supported_codecs


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
                    sound = _sound(container, suffix, source, clip.begin, settings)
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
    if codec == "h265" and container.format.name in ("mp4", "mov"):
        context.codec_tag = "hvc1"  # the name by which Apple's players know it
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
    target: Any, suffix: str, source: Any, begin: Fraction, settings: MovieSettings
) -> Iterator[tuple[Fraction, Any]]:
    """Yield the packets of the clip's sound and subtitles, and when each is due.

    They are copied as they are, without the time before the start. begin: of the clip's own times.
    """
    streams = {
        stream.index: _copied(target, stream)
        for stream in source.streams
        if stream.type in COPIED and _holds(suffix, stream)
    }
    chosen = [stream for stream in source.streams if stream.index in streams]
    start = Fraction(settings.start)
    for packet in source.demux(chosen) if chosen else ():
        if packet.dts is None or _is_gap(packet):
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


def _copied(target: Any, stream: Any) -> Any:
    """Add a stream like another one, with its language and what it is for."""
    copy = target.add_stream_from_template(stream)
    copy.metadata.update({key: stream.metadata[key] for key in TAGS if key in stream.metadata})
    copy.disposition = stream.disposition
    return copy


def _is_gap(packet: Any) -> bool:
    """Whether a packet is the silence between two subtitles, which MP4 has and writes by itself."""
    return packet.stream.codec_context.name == "mov_text" and bytes(packet) == bytes(2)
