"""Small video files, written and read with PyAV."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

__all__ = ["sound_of", "times_of", "write_clip"]

RATE = 48000  # samples a second


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    times: Sequence[int],
    time_base: Fraction = Fraction(1, 1000),
    codec: str = "libx264",
    sound: str = "",
    **context: int,
) -> Path:
    """Write frames (H, W, 3) uint8 at `times`, with four tenths of a second of sound.

    context: settings of the encoder, as colorspace.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "8", "b": "0"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = stream.time_base = time_base
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        audio = container.add_stream(sound, rate=RATE) if sound else None
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio:
            _write_sound(container, audio, times[0] * time_base)
    return path


def _write_sound(container, audio, begin: Fraction) -> None:
    wave = (8000 * np.sin(0.05 * np.arange(int(0.4 * RATE)))).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, round(begin * RATE), Fraction(1, RATE)
    resampler = av.AudioResampler(audio.codec_context.format, audio.codec_context.layout, RATE)
    for part in resampler.resample(frame):
        container.mux(audio.encode(part))
    container.mux(audio.encode(None))


def times_of(path: Path) -> list[Fraction]:
    """The times of a film's frames, in seconds."""
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    """The times and the bytes of a film's packets of sound."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        packets = container.demux(container.streams.audio[0])
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in packets
            if packet.pts is not None
        ]
