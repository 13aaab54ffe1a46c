"""Paint a film frame by frame: each begins with the last painting, carried along the flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch

from impasto.config import Config
from impasto.film.clip import Clip, ClipFrame, Note, is_video, open_clip
from impasto.film.cuts import marked_cuts
from impasto.film.flow import FlowMethod
from impasto.film.movie import MovieFrame, MovieSettings, write_movie
from impasto.film.painter import FramePainter
from impasto.film.shot import Shot, carried
from impasto.film.store import FilmStore, FrameLine
from impasto.images.read import SMALLEST, Picture, read, resize
from impasto.painting.levels import scaled_size
from impasto.painting.problem import extras
from impasto.painting.step import Step
from impasto.parsing import ALPHA

__all__ = [
    "Extras",
    "FilmInput",
    "Span",
    "film_size",
    "frame_picture",
    "paint_film",
    "selected",
    "write_film",
]


class Span(NamedTuple):
    """Which frames of a clip: from `start` to before `end` in seconds, every n-th of them."""

    start: float = 0.0
    end: float | None = None
    every: int = 1


def selected(clip: Clip, span: Span, note: Note) -> Iterator[ClipFrame]:
    """Yield the frames of a span of a clip."""
    count = 0
    for frame in clip.frames(note):
        seconds = float(frame.pts * clip.time_base)
        if span.end is not None and seconds >= span.end:
            return
        if seconds >= span.start:
            if count % span.every == 0:
                yield frame._replace(duration=frame.duration * span.every)
            count += 1


def film_size(frame: ClipFrame, config: Config) -> tuple[int, int]:
    """(height, width) of a film: a painting's, but even, as video has colors at half the size."""
    height, width, _ = frame.pixels.shape
    height, width = scaled_size(height, width, config)
    return max(SMALLEST, height // 2 * 2), max(SMALLEST, width // 2 * 2)


def frame_picture(frame: ClipFrame, name: str, size: tuple[int, int]) -> Picture:
    """A frame of a clip as a content picture of (height, width)."""
    pixels = torch.tensor(frame.pixels).permute(2, 0, 1)[None].float() / 255
    return Picture(resize(pixels, *size), None, f"{name} frame {frame.number}", "")


class Extras:
    """The pictures that a config names; masks may be clips, of which each frame has its own.

    given: pictures in memory, by the names that the config has for them; other names are paths.
    """

    def __init__(
        self, config: Config, rate: Fraction, given: Mapping[str, Picture] = MappingProxyType({})
    ):
        self._pictures: dict[str, Picture] = {}
        self._clips: dict[str, Iterator[ClipFrame]] = {}
        self._number = 0
        self.digests: dict[str, str] = {}
        for role, path in extras(config):
            if path in given:
                self._pictures[path] = given[path]
                self.digests[path] = given[path].sha256
            elif role in ("mask", "protect") and path != ALPHA and is_video(path):
                clip = open_clip(path, rate)
                self._clips[path] = clip.frames(lambda _: None)
                self.digests[path] = clip.sha256
            elif path not in self._pictures:
                self._pictures[path] = read(path)
                self.digests[path] = self._pictures[path].sha256

    def at(self, number: int) -> Mapping[str, Picture]:
        """The pictures for frame `number`, from 1; it must not go back.

        A clip that has ended keeps its last frame.
        """
        while self._number < number:
            self._number += 1
            for path, frames in self._clips.items():
                if (frame := next(frames, None)) is not None:
                    self._pictures[path] = frame_picture(frame, path, frame.pixels.shape[:2])
        return dict(self._pictures)

    @property
    def moving(self) -> tuple[str, ...]:
        """The names of those that are clips."""
        return tuple(self._clips)

    def with_moving(self, moving: Sequence[Picture]) -> Mapping[str, Picture]:
        """The pictures for a frame of which those of the clips are known, in their order."""
        return {**self._pictures, **dict(zip(self._clips, moving, strict=True))}


class FilmInput(NamedTuple):
    """What a film is painted from.

    size: (height, width) of the film. named: the pictures that the config names. flow: computes the
    flow between two frames.
    """

    clip: Clip
    span: Span
    size: tuple[int, int]
    named: Extras
    flow: FlowMethod

    def frames(self, note: Note) -> Iterator[ClipFrame]:
        """Yield the frames of the clip that are painted."""
        return selected(self.clip, self.span, note)

    def picture(self, frame: ClipFrame) -> Picture:
        """A frame as a content picture."""
        return frame_picture(frame, self.clip.path.name, self.size)


def paint_film(
    film: FilmInput,
    painter: FramePainter,
    store: FilmStore,
    note: Note,
    on_step: Callable[[Step], object],
) -> Iterator[FrameLine]:
    """Paint the frames of a film that the store does not have yet; yield a line for each.

    A store of two passes then has its frames painted once more, backward.

    Args:
        film: what is painted.
        painter: paints a frame.
        store: of the painted frames.
        note: is told what the user should know.
        on_step: called with every solver step.
    """
    yield from _paint_forward(film, painter, store, note, on_step)
    if store.second is not None:
        yield from _paint_backward(film, painter, store, store.second, on_step)


def _paint_forward(
    film: FilmInput,
    painter: FramePainter,
    store: FilmStore,
    note: Note,
    on_step: Callable[[Step], object],
) -> Iterator[FrameLine]:
    """Paint the frames in their order; the arguments are `paint_film`'s."""
    named = film.named
    shot: Shot | None = None
    first: tuple[Picture, Mapping[str, Picture]] | None = None  # of a shot the painter has not seen
    done = {line.number: line for line in store.lines}
    for frame, cut in marked_cuts(film.frames(note)):
        content = film.picture(frame)
        pictures = named.at(frame.number)
        if store.second is not None:
            store.keep_inputs(frame.number, [content, *(pictures[name] for name in named.moving)])
        if cut or shot is None:
            shot, first = Shot(frame.number, content.pixels), (content, pictures)
        if line := done.get(frame.number):
            if not line.cut:
                shot.add(frame.number, content.pixels)
            yield line
            continue
        if first:
            painter.begin_shot(*first)
            first = None
        began = time.monotonic()
        if cut:
            painting = painter.first(content, pictures, on_step)
        elif torch.equal(content.pixels, shot.last[1]) and not named.moving:
            painting = None  # the same picture again
        else:
            known = carried(frame.number, content.pixels, shot, film.flow, store)
            painting = painter.next(content, known, pictures, on_step)
        if not cut:
            shot.add(frame.number, content.pixels)
        values = {
            **{name: getattr(frame, name) for name in ("number", "pts", "duration")},
            "cut": cut,
            "tile": painter.plan.tile_size if painter.plan else None,
            "seconds": time.monotonic() - began,
        }
        yield store.repeat(values) if painting is None else store.add(values, painting)


def _paint_backward(
    film: FilmInput,
    painter: FramePainter,
    store: FilmStore,
    second: FilmStore,
    on_step: Callable[[Step], object],
) -> Iterator[FrameLine]:
    """Paint the frames of a film once more, from the last to the first; yield a line for each.

    The multi-pass algorithm of Ruder, Dosovitskiy & Brox 2016, "Artistic style transfer for
    videos", section 4.4: a frame begins as a blend of its own painting with that of the frame
    after it, carried along the flow, and is held to the latter. The first pass meets what comes
    into the picture as a sliver at its border, or from behind something; this one brings back the
    strokes that it had when it was seen whole. A shot's last frame is as the first pass left it.

    Args:
        film: what is painted.
        painter: has painted the first pass, or goes on with it.
        store: of the first pass, with what the frames were painted from.
        second: of this pass.
        on_step: called with every solver step.
    """
    named = film.named
    done = {line.number: line for line in second.lines}
    for lines in reversed(_by_shots(store.lines)):
        shot: Shot | None = None
        begun = False
        for line in reversed(lines):
            content, *masks = store.inputs(line.number)
            began = time.monotonic()
            before, shot = shot, shot or Shot(line.number, content.pixels)
            if line.number in done:
                pass
            elif before is None:
                done[line.number] = second.copy(line, store.file(line.number))
            elif torch.equal(content.pixels, shot.last[1]) and not named.moving:
                done[line.number] = second.copy(line, second.file(shot.last[0]))
            else:
                if not begun:
                    key, *its_masks = store.inputs(lines[0].number)
                    painter.begin_shot(key, named.with_moving(its_masks))
                    begun = True
                known = carried(line.number, content.pixels, shot, film.flow, second)
                painting = painter.next(
                    content, known, named.with_moving(masks), on_step, store.pixels(line.number)
                )
                values = line.model_dump(include={"number", "pts", "duration", "cut", "tile"})
                values["seconds"] = time.monotonic() - began
                done[line.number] = second.add(values, painting)
            if before is not None:
                shot.add(line.number, content.pixels)
            yield done[line.number]


def write_film(
    out: Path, clip: Clip, store: FilmStore, movie: MovieSettings, stopped: bool
) -> None:
    """Write the film's file from the frames that are painted.

    Args:
        out: the file.
        clip: with the sound.
        store: of the frames.
        movie: how the file is written.
        stopped: there are more frames to come, and the sound ends with the last one painted.
    """
    last = store.lines[-1]
    if stopped:
        movie = movie._replace(end=float((last.pts + last.duration) * clip.time_base))
    frames = (
        MovieFrame(line.pts, line.duration, store.last_file(line.number)) for line in store.lines
    )
    write_movie(out, clip, frames, movie)


def _by_shots(lines: Sequence[FrameLine]) -> list[list[FrameLine]]:
    """The lines of each shot."""
    shots: list[list[FrameLine]] = []
    for line in lines:
        if line.cut or not shots:
            shots.append([])
        shots[-1].append(line)
    return shots
