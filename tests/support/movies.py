"""Small video files, written and read with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["packets_of", "sound_of", "times_of", "write_clip"]

RATE = 48000  # samples a second
SUBTITLES = ((40, "Hello"), (200, "World"))  # milliseconds


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int],
    time_base: Fraction = Fraction(1, 1000),
    codec: str = "libx264",
    sound: str = "",
    subtitles: str = "",
    **context: int,
) -> Path:
    """Write frames (H, W, 3) uint8 at `times`, with four tenths of a second of sound.

    subtitles: their codec, or "" for none. context: settings of the encoder, as colorspace.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "8", "b": "0"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = time_base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        audio = container.add_stream(sound, rate=RATE) if sound else None
        text = container.add_stream(subtitles) if subtitles else None
        if text:
            text.codec_context.subtitle_header = b"[Script Info]\n"
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "fra"
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio:
            _write_sound(container, audio, times[0] * time_base)
        if text:
            _write_subtitles(container, text)
    return path


def _write_sound(container, audio, begin: Fraction) -> None:
    wave = (8000 * np.sin(0.05 * np.arange(int(0.4 * RATE)))).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, round(begin * RATE), Fraction(1, RATE)
    resampler = av.AudioResampler(audio.codec_context.format, audio.codec_context.layout, RATE)
    for part in resampler.resample(frame):
        container.mux(audio.encode(part))
    container.mux(audio.encode(None))


def _write_subtitles(container, stream) -> None:
    for time, words in SUBTITLES:
        data = words.encode()
        if stream.codec_context.name == "mov_text":
            data = len(data).to_bytes(2, "big") + data
        packet = av.Packet(data)
        packet.pts = packet.dts = time
        packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), stream
        container.mux(packet)


def times_of(path: Path) -> list[Fraction]:
    """The times of a film's frames, in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    """The times and the bytes of a film's packets of sound."""
    return packets_of(path, "audio")


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """The times and the bytes of the packets of the first stream of a kind; [] if there is none."""
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(streams[:1] or ())
            if packet.pts is not None and packet.stream in streams
        ]
